//! Servers of replicas are started anew, under the conditions of a play.

use std::path::PathBuf;
use std::time::Duration;

use cohort_conditions::Order;
use cohort_model::{Condition, ConditionKind, InstanceId, Recipe, Share};
use cohort_service::Instance;

use super::{CAPSULES, Try};
use crate::service::shell::Hub;

/// A server that waits for ever is given so long to end by itself.
const HUNG_GRACE: Duration = Duration::from_millis(200);

impl Hub {
    /// The server of a replica is stopped, what it left is removed, and it is started under the conditions of a play.
    pub(super) fn begin_anew(&mut self, one: &mut Try) {
        let missing = self.begin_under(one.instance, &one.recipe, &one.variant);
        one.missing.extend(missing);
    }

    /// The same under the conditions of a recipe, as this build (empty: the ordinary one); gives those that cannot be had.
    pub(crate) fn begin_under(
        &mut self,
        id: InstanceId,
        recipe: &Recipe,
        variant: &str,
    ) -> Vec<ConditionKind> {
        let conditions = conditions_of_start(recipe);
        let mut missing = Vec::new();
        self.set_down(id);
        let Some(instance) = self.ground.get(id).cloned() else {
            return missing;
        };
        let prefix = match self.prefix(id, &conditions) {
            Ok(prefix) => prefix,
            Err(_) => {
                missing.extend(conditions.iter().map(Condition::kind));
                Vec::new()
            }
        };
        self.ground.set_prefix(id, prefix);
        let variant = Some(variant).filter(|it| !it.is_empty());
        self.ground.set_variant(id, variant);
        self.replicas.under.insert(id, conditions);
        let share = self
            .replicas
            .shares
            .get(&id)
            .map(|share| limited(*share, recipe));
        let scratch = instance.scratch().to_owned();
        let hung = self.replicas.hung.remove(&id);
        tokio::spawn(async move {
            stop(&instance, hung).await;
            let _ = tokio::task::spawn_blocking(move || empty(&scratch)).await;
            if let Some(share) = share {
                let _ = instance.set(share).await;
            }
            let _ = instance.start().await;
        });
        missing
    }

    /// From its next start on a replica is under no conditions, and the ordinary build.
    pub(crate) fn without_conditions(&mut self, id: InstanceId) {
        self.ground.set_variant(id, None);
        self.replicas.under.remove(&id);
        self.set_witness(id);
    }

    /// From its next start on the stacks of a replica that crashes are read, or no longer.
    pub(super) fn set_witness(&mut self, id: InstanceId) {
        let under = self.replicas.under.get(&id).cloned().unwrap_or_default();
        // What cannot be written is not looked at.
        let prefix = self.prefix(id, &under).unwrap_or_default();
        self.ground.set_prefix(id, prefix);
    }

    /// Where those are written.
    pub(super) fn stacks_file(&self, id: InstanceId) -> PathBuf {
        let directory = self.campaign.path().join(CAPSULES);
        directory.join(format!("stacks-{id}.txt"))
    }

    /// The server of a replica is started anew, as it was.
    pub(crate) fn begin_replica_anew(&mut self, id: InstanceId) {
        self.set_down(id);
        let Some(instance) = self.ground.get(id).cloned() else {
            return;
        };
        let scratch = instance.scratch().to_owned();
        let hung = self.replicas.hung.remove(&id);
        tokio::spawn(async move {
            stop(&instance, hung).await;
            let _ = tokio::task::spawn_blocking(move || empty(&scratch)).await;
            let _ = instance.start().await;
        });
    }

    /// What the server's command is put after.
    pub(super) fn prefix(
        &self,
        id: InstanceId,
        conditions: &[Condition],
    ) -> std::io::Result<Vec<String>> {
        let evidence = self.replicas.witnessed.contains(&id);
        if conditions.is_empty() && !evidence {
            return Ok(Vec::new());
        }
        let order = Order {
            conditions: conditions.to_vec(),
            evidence: evidence.then(|| self.stacks_file(id)),
            crashes_only: true,
            ..Order::default()
        };
        let directory = self.campaign.path().join(CAPSULES);
        let path = directory.join(format!("under-{id}.json"));
        std::fs::write(&path, serde_json::to_vec(&order)?)?;
        let words = [
            self.setup.executable.display().to_string(),
            "under".to_owned(),
            "--order".to_owned(),
            path.display().to_string(),
            "--".to_owned(),
        ];
        Ok(words.into())
    }
}

/// What fails here shows as an instance that does not get ready.
async fn stop(instance: &Instance, hung: bool) {
    let _ = match hung {
        true => instance.stop_within(HUNG_GRACE).await,
        false => instance.stop().await,
    };
}

/// Conditions that a server has to be started under.
pub(super) fn conditions_of_start(recipe: &Recipe) -> Vec<Condition> {
    let conditions = recipe.conditions.iter();
    let of_start = conditions.filter(|condition| condition.is_of_start());
    of_start.cloned().collect()
}

/// What an instance may use under the conditions of a recipe.
pub(super) fn limited(mut share: Share, recipe: &Recipe) -> Share {
    for condition in &recipe.conditions {
        match *condition {
            Condition::CpuLimit { cores } => share.cores = share.cores.min(cores),
            Condition::MemoryLimit { bytes } => share.memory = share.memory.min(bytes),
            Condition::NetworkRate { bits_s } => share.network = Some(bits_s),
            _ => {}
        }
    }
    share
}

/// Removes what is in a directory.
pub(super) fn empty(directory: &std::path::Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // What cannot be removed is there for the next server as it would be for any.
        let _ = match is_directory {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
    }
}
