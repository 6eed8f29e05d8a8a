# Who pays hears of it before the bill does. The budget counts the whole project: what bears no label, such as logs and traffic, costs too.

data "google_project" "this" {
  project_id = var.project

  lifecycle {
    postcondition {
      condition     = try(length(self.billing_account) > 0, false)
      error_message = "project is `${var.project}`, which has no billing account; allowed is one that has."
    }
  }
}

resource "google_monitoring_notification_channel" "this" {
  for_each = toset(var.contacts)

  display_name = "Budget of ${var.name}: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }
}

resource "google_billing_budget" "this" {
  billing_account = data.google_project.this.billing_account
  display_name    = "${var.name}-monthly"

  budget_filter {
    projects        = ["projects/${data.google_project.this.number}"]
    calendar_period = "MONTH"
  }

  amount {
    # In whole dollars. The billing account has to be one in US dollars: Google compares, and does not convert.
    specified_amount {
      currency_code = "USD"
      units         = tostring(ceil(var.monthly))
    }
  }

  threshold_rules {
    threshold_percent = 0.8
    spend_basis       = "CURRENT_SPEND"
  }

  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  all_updates_rule {
    monitoring_notification_channels = [for channel in google_monitoring_notification_channel.this : channel.id]
  }
}
