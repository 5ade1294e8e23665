//! An instance that is well, which is looked at beside one that is not, by the same command: what is different is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cohort_helper::Manifest;
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

    /// What is different from another instance, of which `beside` is what was printed; where none is well now, from the last one
    /// that was, this one before all others.
    pub(super) fn compared(
        &self,
        (profile, program): (&Profile, &str),
        beside: Option<&(Visit, String)>,
    ) -> Option<HelperTold> {
        let Manifest { name, reads, .. } = &self.manifest;
        let now = beside.and_then(|(other, printed)| {
            let there = reading::read(*reads, printed, program).ok()?.profile?;
            self.wells.keep(name, other.instance, &there);
            Some((other.instance.to_string(), there))
        });
        let before = || {
            let (instance, there) = self.wells.last(name, self.instance)?;
            Some((format!("{instance} when it was well"), there))
        };
        let (other, there) = now.or_else(before)?;
        let title = format!("{name} at {} against {other}", self.instance);
        profiles::keep_reference(&self.directory, &title, (profile, &there));
        compared(*reads, (profile, &there), program, &other)
    }
}

/// Profiles of instances as long as they were well, by the helper that made them.
#[derive(Clone, Debug, Default)]
pub(super) struct Wells(Arc<Mutex<BTreeMap<(String, InstanceId), Profile>>>);

impl Wells {
    fn keep(&self, helper: &str, instance: InstanceId, profile: &Profile) {
        if let Ok(mut all) = self.0.lock() {
            all.insert((helper.to_owned(), instance), profile.clone());
        }
    }

    /// That of an instance, or else of any other.
    fn last(&self, helper: &str, instance: InstanceId) -> Option<(InstanceId, Profile)> {
        let all = self.0.lock().ok()?;
        let mut of_helper = all.iter().filter(|((name, _), _)| name == helper);
        let own = of_helper.clone().find(|((_, it), _)| *it == instance);
        let ((_, instance), profile) = own.or_else(|| of_helper.next())?;
        Some((*instance, profile.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_compared_with_itself_before_it_is_with_others() {
        let wells = Wells::default();
        let profile =
            |count: u64| Profile::of_folded(&format!("main;find {count}\n")).expect("folded");
        let [first, second, third] = [0, 1, 2].map(InstanceId);
        assert_eq!(wells.last("profiler", first), None);
        wells.keep("profiler", second, &profile(1));
        wells.keep("profiler", third, &profile(2));
        wells.keep("waits", first, &profile(3));
        assert_eq!(wells.last("profiler", first), Some((second, profile(1))));
        assert_eq!(wells.last("profiler", third), Some((third, profile(2))));
        wells.keep("profiler", third, &profile(4));
        assert_eq!(wells.last("profiler", third), Some((third, profile(4))));
        assert_eq!(wells.last("node-profiler", first), None);
    }
}
