//! Numbers of 16 bits, which the language does not have yet: IEEE 754 half precision, and bfloat16 (the upper half of a single).

/// The half nearest to `value`, ties to even. Values beyond the largest half become an infinity.
pub(super) fn from_f64(value: f64) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = value.abs();
    if magnitude.is_nan() {
        return sign | 0x7e00;
    }
    // Half of the gap above the largest half (65504) rounds to infinity.
    if magnitude >= 65_520.0 {
        return sign | 0x7c00;
    }
    // The exponent of the value, but not below that of the subnormals.
    let exponent = (unbiased_exponent(magnitude)).max(-14);
    // Scaled so that one unit is the last place of a half with that exponent; the product is exact.
    let units = (magnitude * 2f64.powi(10 - exponent)).round_ties_even();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 2048, never negative")]
    let units = units as u16;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 30")]
    let biased = (exponent + 14) as u16;
    // `units` carries the implicit bit (1024) for normal numbers, which raises the biased exponent by one; a carry out of
    // the fraction (2048) raises it by two. Addition does both.
    sign | ((biased << 10) + units)
}

fn unbiased_exponent(magnitude: f64) -> i32 {
    // Eleven bits.
    let biased = (magnitude.to_bits() >> 52) as i32;
    biased - 1023
}

/// The value of a half; exact.
pub(super) fn to_f64(half: u16) -> f64 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((half >> 10) & 0x1f);
    let fraction = f64::from(half & 0x3ff);
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

/// The bfloat16 nearest to `value`, ties to even. Values beyond the largest become an infinity.
pub(super) fn bf16_from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let upper = (bits >> 16) as u16;
    if value.is_nan() {
        // Quiet, so that what is cut off cannot make an infinity of it.
        return upper | 0x40;
    }
    let (rest, odd) = (bits & 0xffff, upper & 1);
    // A carry out of the fraction raises the exponent, which is the next larger number.
    if rest > 0x8000 || (rest == 0x8000 && odd == 1) { upper + 1 } else { upper }
}

/// The value of a bfloat16; exact.
pub(super) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bfloat16_survives_the_way_through_a_single_and_others_go_to_the_nearest() {
        for bits in 0..=u16::MAX {
            let value = bf16_to_f32(bits);
            if !value.is_nan() {
                assert_eq!(bf16_from_f32(value), bits, "{bits:#06x} = {value}");
            }
        }
        assert!(bf16_to_f32(bf16_from_f32(f32::NAN)).is_nan());
        // Half-way between two goes to the even one; a little above it goes up.
        assert_eq!(bf16_from_f32(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(bf16_from_f32(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert_eq!(bf16_from_f32(f32::from_bits(0x3f80_8001)), 0x3f81);
        assert_eq!(bf16_from_f32(f32::MAX), 0x7f80);
    }

    #[test]
    fn every_half_survives_the_way_through_a_double() {
        for half in 0..=u16::MAX {
            let value = to_f64(half);
            if !value.is_nan() {
                assert_eq!(from_f64(value), half, "{half:#06x} = {value}");
            }
        }
    }

    #[test]
    fn known_values_have_their_bits() {
        for (value, bits) in [
            (0.0, 0x0000),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65_504.0, 0x7bff),
            (65_519.9, 0x7bff),
            (65_520.0, 0x7c00),
            (6.103_515_625e-5, 0x0400),
            (5.960_464_477_539_063e-8, 0x0001),
            (2.980_232_238_769_531_3e-8, 0x0000),
            (2.980_232_238_769_532e-8, 0x0001),
            (1e-300, 0x0000),
            (0.1, 0x2e66),
            (1.0 / 3.0, 0x3555),
            (f64::INFINITY, 0x7c00),
            (f64::NEG_INFINITY, 0xfc00),
        ] {
            assert_eq!(from_f64(value), bits, "{value}");
        }
        assert!(to_f64(from_f64(f64::NAN)).is_nan());
    }

    #[test]
    fn a_double_goes_to_the_nearer_neighbour_and_a_tie_to_the_even_one() {
        for lower in (0x0000..0x7bff).step_by(7) {
            let (a, b) = (to_f64(lower), to_f64(lower + 1));
            let middle = f64::midpoint(a, b);
            let even = if lower % 2 == 0 { lower } else { lower + 1 };
            assert_eq!(from_f64(middle), even, "{middle}");
            assert_eq!(from_f64(middle.next_down()), lower);
            assert_eq!(from_f64(middle.next_up()), lower + 1);
        }
    }
}
