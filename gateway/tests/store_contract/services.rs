//! Services that are changed beside running instances.

use miid_gateway::store::{BindingRule, Service, ServiceChange, SessionPolicy, StepUpRule};
use miid_protocol::ClientId;
use miid_protocol::secret::{ClientSecret, Secret};

use crate::fresh::{Fresh, on_both};

on_both!(
    changes_of_a_service_at_once_all_stand,
    a_change_of_a_service_leaves_its_secrets_alone,
    a_change_of_no_service_changes_nothing,
);

fn id() -> ClientId {
    ClientId::parse("changing").expect("a client id")
}

fn secret(byte: u8) -> Secret<ClientSecret> {
    Secret::from_bytes([byte; 32])
}

async fn add(fresh: &Fresh) -> Service {
    let service = Service {
        client_id: id(),
        name: "Shop".into(),
        secret: secret(1).hash(),
        old_secret: None,
        return_urls: vec!["https://shop.example/0".into()],
        scopes: vec!["profile".into()],
        session_policy: SessionPolicy::Single,
        binding: BindingRule::Any,
        step_up: StepUpRule::Linked,
        created_at: fresh.store.clock().now(),
    };
    let adding = service.clone();
    let added = fresh.store.write("add_service", move |tx| {
        let service = adding.clone();
        Box::pin(async move { tx.add_service(&service).await })
    });
    assert!(added.await.expect("the store works"));
    service
}

async fn update(fresh: &Fresh, change: ServiceChange) -> Option<Service> {
    let updated = fresh.store.write("update_service", move |tx| {
        let change = change.clone();
        Box::pin(async move { tx.update_service(&id(), &change).await })
    });
    updated.await.expect("the store works")
}

async fn stored(fresh: &Fresh) -> (i64, Option<Service>) {
    let mut reader = fresh.store.read().await.expect("the store works");
    let version = reader.control_version().await.expect("the store works");
    (version, reader.services().await.expect("the store works").remove(&id()))
}

async fn changes_of_a_service_at_once_all_stand(fresh: Fresh) {
    add(&fresh).await;
    let (before, _) = stored(&fresh).await;
    let urls: Vec<String> = (1..=8).map(|n| format!("https://shop.example/{n}")).collect();
    let updates = urls.iter().map(|url| {
        update(&fresh, ServiceChange { add_return_urls: vec![url.clone()], ..ServiceChange::default() })
    });
    for updated in futures_util::future::join_all(updates).await {
        assert!(updated.is_some());
    }
    let (version, service) = stored(&fresh).await;
    let service = service.expect("a service");
    assert_eq!(service.return_urls.len(), 9, "{:?}", service.return_urls);
    assert!(urls.iter().all(|url| service.return_urls.contains(url)), "{:?}", service.return_urls);
    assert_eq!(version, before + 8, "running instances look again");
}

async fn a_change_of_a_service_leaves_its_secrets_alone(fresh: Fresh) {
    let before = add(&fresh).await;
    let now = fresh.store.clock().now();
    let until = now.plus(miid_protocol::Lifetime::from_secs(60));
    let rotated = fresh.store.write("rotate_secret", move |tx| {
        Box::pin(async move { tx.rotate_secret(&id(), secret(2).hash(), until).await })
    });
    assert!(rotated.await.expect("the store works"));
    let (binding, step_up) = (Some(BindingRule::Linked), Some(StepUpRule::Any));
    let change = ServiceChange { binding, step_up, ..ServiceChange::default() };
    let told = update(&fresh, change).await.expect("a service");
    let service = stored(&fresh).await.1.expect("a service");
    for service in [told, service] {
        assert!(service.accepts(secret(1).hash(), now) && service.accepts(secret(2).hash(), now));
        assert!(!service.accepts(secret(1).hash(), until));
        assert_eq!((service.binding, service.step_up), (BindingRule::Linked, StepUpRule::Any));
        let rest = |s: &Service| (s.name.clone(), s.return_urls.clone(), s.scopes.clone(), s.session_policy);
        assert_eq!(rest(&service), rest(&before));
    }
}

async fn a_change_of_no_service_changes_nothing(fresh: Fresh) {
    let before = stored(&fresh).await.0;
    let change = ServiceChange { name: Some("Ghost".into()), ..ServiceChange::default() };
    assert!(update(&fresh, change).await.is_none());
    let (version, service) = stored(&fresh).await;
    assert_eq!((version, service.is_none()), (before, true));
}
