//! Relying parties. Few, read at every request, changed by the command line beside running
//! instances: those keep them all in memory and look at a counter once a second.

use std::collections::HashMap;

use miid_protocol::ClientId;
use miid_protocol::Timestamp;
use miid_protocol::secret::SecretHash;

use super::db::{Row, parsed, values};
use super::{AuditRow, Reader, StoreError, Tx};

/// How many sessions one person may have at a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SessionPolicy {
    /// A new sign-in ends the earlier ones.
    Single,
    /// They stand side by side.
    Multiple,
}

/// Which bindings a service accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BindingRule {
    /// Either.
    Any,
    /// Linked only.
    Linked,
}

/// Which bindings a service may ask for a step-up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StepUpRule {
    /// Linked only: the approval comes back through the browser that asked.
    Linked,
    /// Either.
    Any,
}

/// A relying party.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name towards the gateway.
    pub client_id: ClientId,
    /// Its name for people.
    pub name: String,
    /// Of its secret.
    pub secret: SecretHash,
    /// Of the one before, and until when that is still accepted.
    pub old_secret: Option<(SecretHash, Timestamp)>,
    /// Where linked sign-ins may return.
    pub return_urls: Vec<String>,
    /// What it may ask for.
    pub scopes: Vec<String>,
    /// How many sessions one person may have.
    pub session_policy: SessionPolicy,
    /// Which bindings it accepts.
    pub binding: BindingRule,
    /// Which of them it may ask for a step-up in.
    pub step_up: StepUpRule,
    /// Since when.
    pub created_at: Timestamp,
}

/// What is to be different about a service; what is not named stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceChange {
    /// Its name for people.
    pub name: Option<String>,
    /// Where linked sign-ins may return, instead of where they may now.
    pub return_urls: Option<Vec<String>>,
    /// Where they may return, too.
    pub add_return_urls: Vec<String>,
    /// What it may ask for.
    pub scopes: Option<Vec<String>>,
    /// How many sessions one person may have.
    pub session_policy: Option<SessionPolicy>,
    /// Which bindings it accepts.
    pub binding: Option<BindingRule>,
    /// Which of them it may ask for a step-up in.
    pub step_up: Option<StepUpRule>,
}

impl ServiceChange {
    fn apply(&self, mut service: Service) -> Service {
        let change = self.clone();
        service.name = change.name.unwrap_or(service.name);
        service.return_urls = change.return_urls.unwrap_or(service.return_urls);
        for url in change.add_return_urls {
            if !service.return_urls.contains(&url) {
                service.return_urls.push(url);
            }
        }
        service.scopes = change.scopes.unwrap_or(service.scopes);
        service.session_policy = change.session_policy.unwrap_or(service.session_policy);
        service.binding = change.binding.unwrap_or(service.binding);
        service.step_up = change.step_up.unwrap_or(service.step_up);
        service
    }
}

impl Service {
    /// Whether a secret is right at `now`.
    pub fn accepts(&self, secret: SecretHash, now: Timestamp) -> bool {
        let old = self.old_secret.is_some_and(|(old, until)| now < until && secret == old);
        secret == self.secret || old
    }
}

impl SessionPolicy {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Multiple => "multiple",
        }
    }
}

impl BindingRule {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Linked => "linked",
        }
    }
}

impl StepUpRule {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Any => "any",
        }
    }
}

const SELECT: &str =
    "SELECT client_id, name, secret_hash, old_secret_hash, old_secret_until, return_urls, scopes,
    session_policy, binding, created_at, step_up FROM services ORDER BY client_id";

impl Tx {
    /// Adds a service; false where there is one of this name.
    pub async fn add_service(&mut self, service: &Service) -> Result<bool, StoreError> {
        let rows = self
            .conn()
            .execute(
                "-- add_service
                 INSERT INTO services (client_id, name, secret_hash, return_urls, scopes, session_policy, binding,
                                       created_at, step_up)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (client_id) DO NOTHING",
                values![
                    service.client_id.as_str(),
                    &service.name,
                    &service.secret.to_text(),
                    &super::sessions::list_text(&service.return_urls),
                    &super::sessions::list_text(&service.scopes),
                    service.session_policy.as_str(),
                    service.binding.as_str(),
                    service.created_at,
                    service.step_up.as_str(),
                ],
            )
            .await?;
        self.changed("service_added", Some(&service.client_id)).await?;
        Ok(rows == 1)
    }

    /// Changes what is named about a service, and gives what stands now. What it has begun keeps what it
    /// began with. `None` where there is no such service.
    pub async fn update_service(
        &mut self,
        client_id: &ClientId,
        change: &ServiceChange,
    ) -> Result<Option<Service>, StoreError> {
        // Two changes at once: the second sees what the first did.
        self.lock(&format!("service/{client_id}")).await?;
        let rows = self.conn().all(SELECT, &[]).await?;
        let services = rows.iter().map(from_row).collect::<sqlx::Result<Vec<_>>>()?;
        let Some(found) = services.into_iter().find(|service| service.client_id == *client_id) else {
            return Ok(None);
        };
        let service = change.apply(found);
        let rows = self
            .conn()
            .execute(
                // Its secrets are not touched: they may be rotated at this moment.
                "-- update_service
                 UPDATE services SET name = $2, return_urls = $3, scopes = $4, session_policy = $5, binding = $6,
                                     step_up = $7
                 WHERE client_id = $1",
                values![
                    client_id.as_str(),
                    &service.name,
                    &super::sessions::list_text(&service.return_urls),
                    &super::sessions::list_text(&service.scopes),
                    service.session_policy.as_str(),
                    service.binding.as_str(),
                    service.step_up.as_str(),
                ],
            )
            .await?;
        if rows == 0 {
            return Ok(None); // removed at this moment
        }
        self.changed("service_updated", Some(client_id)).await?;
        Ok(Some(service))
    }

    /// Replaces a service's secret; the old one counts until `old_until`. False where there is none.
    pub async fn rotate_secret(
        &mut self,
        client_id: &ClientId,
        secret: SecretHash,
        old_until: Timestamp,
    ) -> Result<bool, StoreError> {
        let rows = self
            .conn()
            .execute(
                "-- rotate_secret
                 UPDATE services SET old_secret_hash = secret_hash, old_secret_until = $3, secret_hash = $2
                 WHERE client_id = $1",
                values![client_id.as_str(), &secret.to_text(), old_until],
            )
            .await?;
        self.changed("service_secret_rotated", Some(client_id)).await?;
        Ok(rows == 1)
    }

    /// Removes a service; its sessions are ended by the caller, in batches. False where there is none.
    pub async fn remove_service(&mut self, client_id: &ClientId) -> Result<bool, StoreError> {
        let rows = self
            .conn()
            .execute(
                "-- remove_service
                 DELETE FROM services WHERE client_id = $1",
                values![client_id.as_str()],
            )
            .await?;
        self.changed("service_removed", Some(client_id)).await?;
        Ok(rows == 1)
    }

    /// Tells running instances that services or keys are not what they were.
    pub(super) async fn changed(
        &mut self,
        action: &'static str,
        client_id: Option<&ClientId>,
    ) -> Result<(), StoreError> {
        self.conn()
            .execute(
                "-- changed
                 INSERT INTO meta (name, value) VALUES ('control', '1')
                 ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)",
                &[],
            )
            .await?;
        let client_id = client_id.map(ClientId::to_string);
        self.audit(AuditRow { action, client_id, ..AuditRow::default() });
        Ok(())
    }
}

impl Reader {
    /// Counts the changes that the command line made.
    pub async fn control_version(&mut self) -> Result<i64, StoreError> {
        let row = self
            .conn()
            .optional(
                "-- control_version\nSELECT CAST(value AS BIGINT) FROM meta WHERE name = 'control'",
                &[],
            )
            .await?;
        Ok(row.map(|row| row.int(0)).transpose()?.unwrap_or_default())
    }

    /// Every service, by its name.
    pub async fn services(&mut self) -> Result<HashMap<ClientId, Service>, StoreError> {
        let rows = self.conn().all(SELECT, &[]).await?;
        let services = rows.iter().map(from_row).collect::<sqlx::Result<Vec<_>>>()?;
        Ok(services.into_iter().map(|service| (service.client_id.clone(), service)).collect())
    }
}

fn from_row(row: &Row) -> sqlx::Result<Service> {
    let hash = |text: &str| SecretHash::from_text(text).ok_or(sqlx::Error::Decode("not a hash".into()));
    let old = match (row.opt_text(3)?, row.opt_int(4)?) {
        (Some(text), Some(until)) => Some((hash(&text)?, Timestamp::from_millis(until))),
        _ => None,
    };
    Ok(Service {
        client_id: parsed(&row.text(0)?, ClientId::parse)?,
        name: row.text(1)?,
        secret: hash(&row.text(2)?)?,
        old_secret: old,
        return_urls: super::sessions::list_from(&row.text(5)?)?,
        scopes: super::sessions::list_from(&row.text(6)?)?,
        session_policy: match row.text(7)?.as_str() {
            "multiple" => SessionPolicy::Multiple,
            _ => SessionPolicy::Single,
        },
        binding: match row.text(8)?.as_str() {
            "linked" => BindingRule::Linked,
            _ => BindingRule::Any,
        },
        // What is not understood is the stricter of the two.
        step_up: match row.text(10)?.as_str() {
            "any" => StepUpRule::Any,
            _ => StepUpRule::Linked,
        },
        created_at: Timestamp::from_millis(row.int(9)?),
    })
}
