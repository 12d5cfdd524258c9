//! How the wallet stands, at a glance: from the view to one of a few pictures.

use miid_wallet::desk::View;
use miid_wallet::desk::view::{self, ConnectionState, Stage};

/// How the wallet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No identity yet.
    New,
    /// Every gateway is heard, and nothing waits.
    Connected,
    /// Something waits for the person.
    Waiting {
        /// How much.
        count: usize,
    },
    /// A gateway is away.
    Offline,
    /// Locked.
    Locked {
        /// How much waits: requests that came meanwhile, and opened links.
        unseen: u32,
    },
    /// The vault cannot be read.
    Broken,
}

impl Standing {
    /// What the view says.
    pub fn of(view: &View) -> Self {
        match view.stage {
            Stage::FirstRun => return Self::New,
            Stage::Locked => return Self::Locked { unseen: view.unseen.saturating_add(view.links_waiting) },
            Stage::Damaged | Stage::Newer => return Self::Broken,
            Stage::Open => {}
        }
        let is_muted = |request: &view::Request| {
            view.mutes
                .iter()
                .any(|mute| mute.wallet == request.wallet && mute.service_id == request.service.id)
        };
        let pending = view.requests.iter().filter(|request| request.standing == view::Standing::Pending);
        let count = pending.filter(|request| !is_muted(request)).count() + view.links.len();
        if count > 0 {
            return Self::Waiting { count };
        }
        // A gateway that will not have an identity again (it was retired) is not expected back.
        let mut expected = view
            .identities
            .iter()
            .filter(|identity| identity.retired_at.is_none())
            .flat_map(|identity| &identity.gateways)
            .map(|gateway| gateway.connection.state)
            .filter(|state| *state != ConnectionState::Stopped)
            .peekable();
        if expected.peek().is_some() && expected.all(|state| state == ConnectionState::Connected) {
            Self::Connected
        } else {
            Self::Offline
        }
    }

    /// Which picture.
    pub fn mark(self) -> Mark {
        match self {
            Self::Connected => Mark::Connected,
            Self::Waiting { .. } => Mark::Waiting,
            Self::New | Self::Offline | Self::Broken => Mark::Offline,
            Self::Locked { .. } => Mark::Locked,
        }
    }
}

/// A picture in the tray.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The door.
    Connected,
    /// The door with a dot.
    Waiting,
    /// The door, struck out.
    Offline,
    /// The door, shut.
    Locked,
}

#[cfg(test)]
mod tests {
    use miid_wallet::desk::view::{Connection, Gateway, Identity, Mute, Settings};

    use super::*;

    fn gateway(state: ConnectionState) -> Gateway {
        Gateway {
            wallet: "w".into(),
            issuer: "https://id.example".into(),
            handle: None,
            connection: Connection { state, reason: None },
        }
    }

    fn view(stage: Stage, gateways: &[ConnectionState]) -> View {
        let identity = Identity {
            name: "Me".into(),
            did: "did:key:z6Mk".into(),
            short: "z6Mk".into(),
            gateways: gateways.iter().map(|state| gateway(*state)).collect(),
            retired_at: None,
            sheet_kept: true,
        };
        View {
            stage,
            fault: None,
            sealed_by: None,
            keychain: false,
            tray: true,
            default_gateway: String::new(),
            identities: vec![identity],
            requests: Vec::new(),
            unseen: 0,
            links_waiting: 0,
            links: Vec::new(),
            sessions: Vec::new(),
            rules: Vec::new(),
            mutes: Vec::new(),
            settings: Settings {
                language: "en".into(),
                theme: "system".into(),
                text_size: 100,
                lock_after_min: 0,
                notifications: true,
                start_at_login: false,
            },
        }
    }

    fn request() -> view::Request {
        view::Request {
            wallet: "w".into(),
            challenge_id: "c".into(),
            digest: String::new(),
            identity: "Me".into(),
            gateway: "https://id.example".into(),
            standing: view::Standing::Pending,
            service: view::Service { id: "shop".into(), name: "Shop".into() },
            binding: view::Binding::Addressed,
            binding_message: None,
            scopes: Vec::new(),
            claims: Vec::new(),
            risk: view::Risk::Normal,
            session_since: None,
            user_agent: None,
            ip: None,
            created_at: String::new(),
            expires_in_ms: 1,
            return_to: false,
        }
    }

    #[test]
    fn one_gateway_that_is_away_is_offline() {
        use ConnectionState::{Connected, Connecting, Disconnected, Stopped};
        let of = |states: &[ConnectionState]| Standing::of(&view(Stage::Open, states));
        assert_eq!(of(&[Connected, Connected]), Standing::Connected);
        assert_eq!(of(&[Connected, Disconnected]), Standing::Offline);
        assert_eq!(of(&[Connecting]), Standing::Offline);
        assert_eq!(of(&[Connected, Stopped]), Standing::Connected);
        assert_eq!(of(&[Stopped]), Standing::Offline);
        assert_eq!(of(&[]), Standing::Offline);
    }

    #[test]
    fn what_waits_is_seen_also_while_a_gateway_is_away() {
        let mut shown = view(Stage::Open, &[ConnectionState::Disconnected]);
        shown.requests.push(request());
        assert_eq!(Standing::of(&shown), Standing::Waiting { count: 1 });
        shown.requests[0].standing = view::Standing::Approved;
        assert_eq!(Standing::of(&shown), Standing::Offline);
    }

    #[test]
    fn a_muted_service_does_not_light_the_tray() {
        let mut shown = view(Stage::Open, &[ConnectionState::Connected]);
        shown.requests.push(request());
        let (wallet, service_id) = ("w".to_owned(), "shop".to_owned());
        shown.mutes.push(Mute { wallet, service_id, service_name: "Shop".into(), until: String::new() });
        assert_eq!(Standing::of(&shown), Standing::Connected);
    }

    #[test]
    fn locked_is_locked_whatever_came() {
        let mut shown = view(Stage::Locked, &[]);
        shown.unseen = 2;
        assert_eq!(Standing::of(&shown), Standing::Locked { unseen: 2 });
        shown.links_waiting = 1;
        assert_eq!(Standing::of(&shown), Standing::Locked { unseen: 3 });
        assert_eq!(Standing::of(&shown).mark(), Mark::Locked);
        assert_eq!(Standing::of(&view(Stage::FirstRun, &[])), Standing::New);
        assert_eq!(Standing::of(&view(Stage::Damaged, &[])), Standing::Broken);
    }
}
