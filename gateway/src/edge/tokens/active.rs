//! Whether the session behind a token is connected now. Asked of the store for each request, since the answer
//! of a moment ago is what a critical call must not rely on; what cannot be found out, or not in time, is no.

use super::access::Access;
use crate::edge::Edge;
use crate::edge::refusal::Refusal;

impl Edge {
    /// Asks.
    pub(crate) async fn is_active(&self, access: &Access) -> Result<bool, Refusal> {
        let (app, lease) = (self.app.clone(), access.lease.clone());
        let asked = self.about_presence.ask(async move {
            let now = app.clock.now();
            app.store.read().await?.presence_of_session(&lease.client_id, lease.session, now).await
        });
        match asked.await {
            Ok(present) => Ok(present.is_some()),
            Err(error) => {
                tracing::debug!(%error, "whether a session is connected could not be found out");
                Err(Refusal::StoreAway)
            }
        }
    }
}
