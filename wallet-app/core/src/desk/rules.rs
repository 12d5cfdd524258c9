//! What the person allowed in advance, and whom they did not want to hear: taken back. A rule is made with a yes
//! (`decide`) and in no other way.

use miid_protocol::ClientId;

use super::Desk;
use super::fault::Fault;

impl Desk {
    /// Takes a rule away; none there is fine.
    pub async fn remove_rule(&self, wallet: &str, service_id: &str) -> Result<(), Fault> {
        self.inner.running(wallet)?.wallet.remove_rule(&service(service_id)?).await?;
        self.inner.reload().await
    }

    /// Hears a service again; one that was not silenced is fine.
    pub async fn unmute(&self, wallet: &str, service_id: &str) -> Result<(), Fault> {
        self.inner.running(wallet)?.wallet.unmute(&service(service_id)?).await?;
        self.inner.reload().await
    }
}

fn service(id: &str) -> Result<ClientId, Fault> {
    ClientId::parse(id).map_err(|_| Fault::BadValue("there is no such service".into()))
}
