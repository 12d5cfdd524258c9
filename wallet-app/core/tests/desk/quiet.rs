//! Never a storm: several at once are one, and who is muted calls nobody.

use miid_protocol::service::DenyReason;
use miid_wallet::desk::Call;
use miid_wallet::desk::view::Stage;
use serde_json::json;

use crate::play::{Gateway, Stand};
use crate::support::requests::{created, id, listed, over, sample};

#[tokio::test]
async fn many_requests_at_once_call_once() {
    let gateway = Gateway::start().await;
    for n in 1..=9 {
        gateway.model().listed.push(listed(n, "pending"));
    }
    let mut stand = Stand::at(&gateway).await;
    stand.until(|view| view.requests.len() == 9).await;
    let call = stand.call().await;
    assert!(matches!(call.call, Call::Request { .. }));
    assert_eq!(call.count, 9);
    assert!(stand.calls.try_recv().is_err());
}

#[tokio::test]
async fn a_muted_service_stands_in_the_list_and_calls_nobody() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    gateway.say(&created(1, 1));
    let _ = stand.call().await;
    let wallet = stand.wallet();
    stand.desk.deny(&wallet, &id(1).to_string(), None, DenyReason::NotMe, Some(60)).await.expect("denied");
    let view = stand.until(|view| view.mutes.len() == 1 && view.requests.is_empty()).await;
    assert_eq!(
        (view.mutes[0].service_id.as_str(), view.mutes[0].service_name.as_str()),
        ("demo-shop", "Demo Shop")
    );

    gateway.say(&created(2, 2));
    stand.until(|view| view.requests.len() == 1).await;
    // Somebody else's still calls, and it is the only call there is.
    let mut says = sample(3);
    says.service.id = miid_protocol::ClientId::parse("other-shop").expect("id");
    says.service.name = "Other Shop".into();
    let data = json!({"challenge_id": id(3), "request": says.to_text()});
    gateway.say(&format!("id: 3\nevent: challenge_created\ndata: {data}\n\n"));
    let call = stand.call().await;
    assert_eq!(call.count, 1);
    assert!(matches!(call.call, Call::Request { service, .. } if service == "Other Shop"));

    stand.desk.unmute(&wallet, "demo-shop").await.expect("heard again");
    stand.until(|view| view.mutes.is_empty()).await;
    gateway.say(&created(4, 4));
    assert!(
        matches!(stand.call().await.call, Call::Request { challenge_id, .. } if challenge_id == id(4).to_string())
    );
}

#[tokio::test]
async fn what_was_answered_before_its_call_came_calls_nobody() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    gateway.say(&created(1, 1));
    let _ = stand.call().await;
    // Both come within the calm after the first one; the newer is answered at once.
    gateway.say(&created(2, 2));
    gateway.say(&created(3, 3));
    stand.until(|view| view.requests.len() == 3).await;
    let wallet = stand.wallet();
    stand.desk.deny(&wallet, &id(3).to_string(), None, DenyReason::Declined, None).await.expect("denied");
    let call = stand.call().await;
    assert!(
        matches!(&call.call, Call::Request { challenge_id, .. } if *challenge_id == id(2).to_string()),
        "{call:?}"
    );
    assert_eq!(call.count, 1);
}

#[tokio::test]
async fn a_call_that_was_not_heard_yet_names_nobody_once_it_is_locked() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    gateway.say(&created(1, 1));
    let _ = stand.call().await;
    // Within the calm after the first one.
    gateway.say(&created(2, 2));
    stand.until(|view| view.requests.len() == 2).await;
    stand.desk.lock();
    gateway.say(&created(3, 3));
    assert_eq!(stand.call().await.call, Call::Unseen);
}

#[tokio::test]
async fn what_came_too_soon_while_it_was_locked_calls_once_the_calm_is_over_if_it_still_waits() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    stand.desk.lock();
    stand.stage(Stage::Locked).await;
    gateway.say(&created(1, 1));
    assert_eq!(stand.call().await.call, Call::Unseen);
    // It is taken back, and the person begins again at once.
    gateway.say(&over(1, 2));
    stand.until(|view| view.unseen == 0).await;
    gateway.say(&created(2, 3));
    stand.until(|view| view.unseen == 1).await;
    assert!(stand.calls.try_recv().is_err());
    stand.pass(60_000);
    assert_eq!(stand.call().await.call, Call::Unseen);
    // Another that is over by then is owed nothing.
    gateway.say(&created(3, 4));
    stand.until(|view| view.unseen == 2).await;
    gateway.say(&over(2, 5));
    gateway.say(&over(3, 6));
    stand.until(|view| view.unseen == 0).await;
    stand.pass(60_000);
    gateway.say(&created(4, 7));
    assert_eq!(stand.call().await.call, Call::Unseen);
    assert!(stand.calls.try_recv().is_err(), "and that was the only call");
}
