//! From what a desk knows to what a window shows.

use miid_protocol::service::{Binding, Risk};
use miid_protocol::{Issuer, Timestamp};

use super::state::{Enrolled, Person, Running, State, wallet_id};
use super::view::{self, ConnectionState, Lid, Stage, View};
use crate::identity::short;
use crate::queue::Standing;
use crate::rules::{Kind, Rule};
use crate::settings::Settings;
use crate::vault::{Outline, SealedBy};
use crate::wallet::{Connection, ShownRequest, Snapshot};

/// How many requests wait while it is locked; none while it is open, where each is shown.
pub(super) fn unseen(state: &State) -> u32 {
    let counted: usize = state.counting.iter().map(|wallet| wallet.snapshot().unseen).sum();
    u32::try_from(counted).unwrap_or(u32::MAX)
}

/// The view at this moment. While it is locked there is nothing in it but what the vault's file says in the
/// clear, and how much came.
pub(super) fn draw(state: &State, now: Timestamp) -> View {
    let is_open = state.stage == Stage::Open && state.vault.is_some();
    let mut view = View {
        stage: state.stage,
        fault: state.fault.clone(),
        sealed_by: state.sealed_by.map(lid),
        keychain: state.keychain,
        tray: state.tray,
        default_gateway: state.default_gateway.to_string(),
        identities: state.outline.iter().map(outline).collect(),
        requests: Vec::new(),
        unseen: 0,
        links_waiting: 0,
        links: Vec::new(),
        sessions: Vec::new(),
        rules: Vec::new(),
        mutes: Vec::new(),
        settings: settings(&state.settings),
    };
    view.unseen = unseen(state);
    if !is_open {
        view.links_waiting = u32::try_from(state.inbox.waiting().count()).unwrap_or(u32::MAX);
        return view;
    }
    let crew: Vec<_> = state.crew.iter().map(|running| (running, running.wallet.snapshot())).collect();
    view.identities = state.people.iter().map(|person| identity(person, &crew)).collect();
    // An identity that is over has nothing that waits or lives, whatever was heard of it last.
    let lives = |running: &Running| candidates(state, &running.issuer).any(|able| able.id == running.id);
    for (running, snapshot) in crew.iter().filter(|(running, _)| lives(running)) {
        let clock = running.wallet.now();
        view.requests.extend(snapshot.requests.iter().map(|shown| request(running, shown, clock)));
        view.sessions.extend(snapshot.sessions.iter().map(|session| self::session(running, session)));
    }
    // Newest first, over all; ids are of ascending time, so they settle what began in the same moment.
    view.requests.sort_by(|a, b| (&b.created_at, &b.challenge_id).cmp(&(&a.created_at, &a.challenge_id)));
    view.sessions.sort_by(|a, b| (&b.created_at, &b.session_id).cmp(&(&a.created_at, &a.session_id)));
    view.links = state
        .inbox
        .waiting()
        .map(|kept| view::Link {
            id: kept.id.clone(),
            gateway: kept.link.issuer.to_string(),
            identities: candidates(state, &kept.link.issuer).map(|running| running.name.clone()).collect(),
        })
        .collect();
    for person in &state.people {
        for Enrolled { enrolment, rules, mutes } in &person.gateways {
            let wallet = wallet_id(&person.did, &enrolment.issuer);
            view.rules
                .extend(rules.iter().map(|(service, rule)| self::rule(&wallet, service.as_str(), rule)));
            view.mutes.extend(mutes.iter().filter(|(_, mute)| mute.holds(now)).map(|(service, mute)| {
                view::Mute {
                    wallet: wallet.clone(),
                    service_id: service.to_string(),
                    service_name: mute.service_name.clone(),
                    until: mute.until.to_string(),
                }
            }));
        }
    }
    view
}

/// Who could take a link of this gateway.
pub(super) fn candidates<'a>(state: &'a State, issuer: &'a Issuer) -> impl Iterator<Item = &'a Running> {
    state.crew.iter().filter(move |running| {
        running.issuer == *issuer
            && state
                .enrolled(&running.did, issuer)
                .is_some_and(|enrolled| enrolled.enrolment.retired_at.is_none())
    })
}

fn lid(sealed_by: SealedBy) -> Lid {
    match sealed_by {
        SealedBy::Passphrase => Lid::Passphrase,
        SealedBy::Keychain => Lid::Keychain,
    }
}

fn outline(outline: &Outline) -> view::Identity {
    view::Identity {
        name: outline.name.clone(),
        did: outline.did.to_string(),
        short: short(&outline.did),
        gateways: Vec::new(),
        retired_at: None,
        // Nobody is reminded of anything at the door.
        sheet_kept: true,
    }
}

pub(super) fn identity(person: &Person, crew: &[(&Running, Snapshot)]) -> view::Identity {
    let gateway = |enrolled: &Enrolled| {
        let issuer = &enrolled.enrolment.issuer;
        let at_work = crew.iter().find(|(running, _)| running.did == person.did && running.issuer == *issuer);
        let connection = at_work.map_or(Connection::Idle, |(_, snapshot)| snapshot.connection.clone());
        view::Gateway {
            wallet: wallet_id(&person.did, issuer),
            issuer: issuer.to_string(),
            handle: enrolled.enrolment.handle.as_ref().map(ToString::to_string),
            connection: self::connection(connection),
        }
    };
    view::Identity {
        name: person.name.clone(),
        did: person.did.to_string(),
        short: short(&person.did),
        gateways: person.gateways.iter().map(gateway).collect(),
        retired_at: person.retired_at.map(|at| at.to_string()),
        sheet_kept: person.has_sheet,
    }
}

fn connection(connection: Connection) -> view::Connection {
    let (state, reason) = match connection {
        Connection::Idle => (ConnectionState::Idle, None),
        Connection::Connecting => (ConnectionState::Connecting, None),
        Connection::Connected => (ConnectionState::Connected, None),
        Connection::Disconnected { reason } => (ConnectionState::Disconnected, Some(reason)),
        Connection::Stopped { reason } => (ConnectionState::Stopped, Some(reason)),
    };
    view::Connection { state, reason }
}

fn request(running: &Running, shown: &ShownRequest, now: Timestamp) -> view::Request {
    let says = &shown.request;
    view::Request {
        wallet: running.id.clone(),
        challenge_id: says.challenge_id.to_string(),
        digest: shown.digest.clone(),
        identity: running.name.clone(),
        gateway: running.issuer.to_string(),
        standing: match shown.standing {
            Standing::Pending => view::Standing::Pending,
            Standing::Approved => view::Standing::Approved,
        },
        service: view::Service { id: says.service.id.to_string(), name: says.service.name.clone() },
        binding: match says.binding {
            Binding::Addressed => view::Binding::Addressed,
            Binding::Linked => view::Binding::Linked,
        },
        binding_message: Some(says.binding_message.clone()).filter(|message| !message.trim().is_empty()),
        scopes: says.scopes.clone(),
        claims: says.claims.clone(),
        risk: match says.risk {
            Risk::Normal => view::Risk::Normal,
            Risk::StepUp => view::Risk::StepUp,
        },
        session_since: shown.session_since.map(|since| since.to_string()),
        user_agent: says.user_agent.clone(),
        ip: says.ip.clone(),
        created_at: says.created_at.to_string(),
        expires_in_ms: u64::try_from(says.expires_at.millis() - now.millis()).unwrap_or(0),
        return_to: shown.return_to,
    }
}

fn session(running: &Running, session: &miid_protocol::wallet::WalletSession) -> view::Session {
    view::Session {
        wallet: running.id.clone(),
        session_id: session.session_id.to_string(),
        identity: running.name.clone(),
        gateway: running.issuer.to_string(),
        service: view::Service {
            id: session.service.id.to_string(),
            name: crate::request::plain(&session.service.name),
        },
        scopes: session.scopes.clone(),
        claims: session.claims.clone(),
        created_at: session.created_at.to_string(),
        last_used_at: session.last_used_at.to_string(),
        expires_at: session.expires_at.to_string(),
    }
}

fn rule(wallet: &str, service_id: &str, rule: &Rule) -> view::Rule {
    view::Rule {
        wallet: wallet.to_owned(),
        service_id: service_id.to_owned(),
        service_name: rule.service_name.clone(),
        kind: match rule.kind {
            Kind::OneClick => view::RuleKind::OneClick,
            Kind::Prefill => view::RuleKind::Prefill,
        },
        scopes: rule.scopes.iter().cloned().collect(),
        claims: rule.claims.iter().cloned().collect(),
        until: rule.until.to_string(),
        used: u32::try_from(rule.used).unwrap_or(u32::MAX),
        last_used_at: rule.last_used_at.map(|at| at.to_string()),
    }
}

fn settings(settings: &Settings) -> view::Settings {
    let word = |value: serde_json::Value| value.as_str().unwrap_or("system").to_owned();
    view::Settings {
        language: word(serde_json::json!(settings.language)),
        theme: word(serde_json::json!(settings.theme)),
        text_size: u16::from(settings.text_size).into(),
        lock_after_min: settings.lock_after_min,
        notifications: settings.notifications,
        start_at_login: settings.start_at_login,
    }
}
