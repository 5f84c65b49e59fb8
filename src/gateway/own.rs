//! How a client is served from its sign-in on: by its own setting or by a policy, whichever was written last.

use super::Gateway;
use crate::config::{self, Client};
use crate::mailbox::ConnectionSettings;

impl Gateway {
    /// Lets the store know which policies there are by now: those that are new were written just now.
    pub(super) fn see_policies(&self) {
        let policies = || config::policies(&self.config()).map(|(_, policy)| policy).collect();
        self.store.clients().see_policies(policies);
    }

    /// What counts for a client that signs in now.
    pub(super) fn settings_of(&self, client: &Client<'_>) -> ConnectionSettings {
        let config = self.config();
        let clients = self.store.clients();
        let Some(setting) = client.principal.and_then(|principal| clients.get(principal)) else {
            return config::choose(&config, client);
        };
        if clients.is_overruled(&setting, &config::policy_of(&config, client)) {
            tracing::debug!("a policy was written later than the client's own setting");
            return config::choose(&config, client);
        }
        setting.own.settings()
    }
}
