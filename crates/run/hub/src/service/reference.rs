//! An instance that is well, which is looked at beside one that is not, by the same command: what is different is told.

use std::net::SocketAddr;
use std::time::Duration;

use cohort_helper::reading::{self, Profile, compared};
use cohort_model::{HelperTold, InstanceId};
use cohort_service::Helpers;
use tokio::sync::oneshot;

use super::helpers::Visit;
use super::profiles;

/// Where the command beside an instance that is well keeps its files meanwhile.
const DIRECTORY: &str = "reference";
/// In the number of its deployment.
const BIT: u32 = 1 << 31;
/// That one begins so much later: where both want the same port, the first gets it.
const AFTER: Duration = Duration::from_millis(300);

impl Visit {
    /// The same command for another instance, which nothing else is done for.
    pub(super) fn at(&self, (instance, (pid, address)): (InstanceId, (i32, SocketAddr))) -> Self {
        let mut other = self.clone();
        other.deployment |= BIT;
        other.instance = instance;
        other.pid = pid;
        other.address = (address.ip().to_string(), address.port());
        other.directory.push(DIRECTORY);
        other.shown.push(DIRECTORY);
        other
    }

    /// One command, begun a little later and without a word; what it printed, and what is left of it.
    pub(super) async fn look(
        &self,
        helpers: &Helpers,
        mut stopped: oneshot::Receiver<()>,
    ) -> (Option<String>, Vec<String>) {
        tokio::select! {
            () = tokio::time::sleep(AFTER) => {}
            _ = &mut stopped => return (None, Vec::new()),
        }
        let begun = match self.fits().map(|()| self.errand(&self.manifest.command)) {
            Ok(Ok(errand)) => helpers.start(errand).await,
            Ok(Err(_)) | Err(_) => return (None, Vec::new()),
        };
        let Ok(mut helper) = begun else {
            return (None, Vec::new());
        };
        let ended = tokio::select! {
            ended = helper.ended() => ended.ok(),
            _ = &mut stopped => None,
        };
        let mut left = helper.end().await;
        left.extend(self.clean_up(helpers).await);
        let printed = ended.filter(|it| it.exit_code == Some(0));
        let printed = printed.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
        (printed, left)
    }

    /// What is different from another instance.
    pub(super) fn compared(
        &self,
        (profile, program): (&Profile, &str),
        (other, printed): (&Visit, &str),
    ) -> Option<HelperTold> {
        let reads = self.manifest.reads;
        let there = reading::read(reads, printed, program).ok()?.profile?;
        let name = other.instance.to_string();
        let title = format!("{} at {} against {name}", self.manifest.name, self.instance);
        profiles::keep_reference(&self.directory, &title, (profile, &there));
        compared(reads, (profile, &there), program, &name)
    }
}
