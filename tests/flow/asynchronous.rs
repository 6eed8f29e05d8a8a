//! A request that is left, and its result fetched later.

use crate::{
    alone,
    client::{Answered, Caller},
    documents::{Document, digits, label},
};
use reqwest::StatusCode;
use slipway_testkit::{Mesh, eventually};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_left_is_answered_once_and_only_to_who_left_it() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    Document::digits("digits", "digits-v1").deploy(folder).await.ok();
    let caller = Caller::of(folder, "digits");
    let digit = &digits()[0];
    let left = caller.post(&digit.body).header("prefer", "respond-async").header("slipway-request-id", "left-1");
    let accepted = Answered::read(left.send().await.unwrap()).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text);
    let place = format!("{}{}", caller.door, accepted.header("location"));
    let get =
        || async { Answered::read(caller.client.get(&place).bearer_auth(&caller.key).send().await.unwrap()).await };
    let done = eventually(Duration::from_secs(20), || async {
        let answered = get().await;
        if answered.status == StatusCode::OK {
            Ok(answered)
        } else {
            Err(format!("{} {}", answered.status, answered.text))
        }
    })
    .await;
    assert_eq!(label(&done.json()), Some(digit.label));
    assert_eq!(get().await.text, done.text, "the result stays");

    // The same id again is the same request; with another body it is refused.
    let again = caller.post(&digit.body).header("prefer", "respond-async").header("slipway-request-id", "left-1");
    let again = Answered::read(again.send().await.unwrap()).await;
    assert!(again.status.is_success(), "{} {}", again.status, again.text);
    let other = caller.post(&digits()[1].body).header("prefer", "respond-async").header("slipway-request-id", "left-1");
    assert_eq!(other.send().await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);

    let stranger = caller.client.get(&place).send().await.unwrap();
    assert!(matches!(stranger.status(), StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND), "{}", stranger.status());
    let inferred =
        folder.cli(["infer", "digits", "--async", "--output", "json", "--request", &digit.body.to_string()]).await.ok();
    assert_eq!(label(&inferred.json_lines()[0]), Some(digit.label));
    eventually(Duration::from_secs(20), || async {
        let ran = folder.cli(["results", "digits", "--output", "json"]).await;
        let total = ran.json_lines().first().map(|answer| answer["total"].clone());
        if total == Some(2.into()) { Ok(()) } else { Err(total) }
    })
    .await;
}
