//! From what the user wrote to what an instance's server is started with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use cohort_host::init::{Serve, Start};
use cohort_model::InstanceId;

use crate::body::THREAD;
use crate::ground::Ground;
use crate::log::Record;
use crate::nest::Nest;
use crate::readiness::Probe;
use crate::spec::Ready;
use crate::template::Values;

fn values(ground: &Ground, nest: &Nest, id: InstanceId, address: SocketAddr) -> Values {
    Values {
        instance: id.0.to_string(),
        scratch: crate::shown(&nest.scratch),
        host: nest.listen_address().to_string(),
        address,
        hub: ground.hub_address().to_string(),
    }
}

/// How the server is started.
pub(crate) fn serve(ground: &Ground, nest: &Nest, id: InstanceId, address: SocketAddr) -> Serve {
    let (spec, values) = (&ground.spec, values(ground, nest, id, address));
    let before = crate::lock(&ground.prefixes).get(&id).cloned();
    let before = before.unwrap_or_default().into_iter().map(OsString::from);
    let variant = crate::lock(&ground.variants).get(&id).cloned();
    let variant = spec
        .variants
        .iter()
        .find(|it| Some(&it.name) == variant.as_ref());
    let mut words = before.chain(
        variant
            .map_or(&spec.command, |it| &it.command)
            .iter()
            .map(|word| OsString::from(values.fill(word))),
    );
    let mut env: BTreeMap<OsString, OsString> = spec.inherited.iter().cloned().collect();
    env.insert("PORT".into(), address.port().to_string().into());
    env.insert("TMPDIR".into(), nest.scratch.clone().into());
    env.insert("COHORT_INSTANCE".into(), id.0.to_string().into());
    let of_variant = variant.into_iter().flat_map(|it| &it.env);
    for (name, value) in spec.env.iter().chain(of_variant) {
        env.insert(name.into(), values.fill(value).into());
    }
    for (name, value) in crate::lock(&ground.env).get(&id).into_iter().flatten() {
        env.insert(name.into(), value.into());
    }
    let [stdout, stderr] = nest.pipes.clone();
    Serve {
        start: Start {
            thread: THREAD,
            program: words.next().unwrap_or_default(),
            args: words.collect(),
            env: env.into_iter().collect(),
            cwd: spec.directory.clone(),
            nice: 0,
        },
        stdout,
        stderr,
    }
}

/// What is waited for, with templates filled in.
pub(crate) fn probe(
    ground: &Ground,
    nest: &Nest,
    id: InstanceId,
    address: SocketAddr,
    record: &Arc<Record>,
) -> Probe {
    let values = values(ground, nest, id, address);
    let mut line = None;
    let ready = match ground.spec.readiness() {
        Ready::Http { url, status } => Ready::Http {
            url: values.fill_for_client(&url),
            status,
        },
        Ready::LogLine { pattern } => {
            let pattern = values.fill(&pattern);
            line = Some(record.await_line(&pattern));
            Ready::LogLine { pattern }
        }
        other => other,
    };
    Probe {
        ready,
        within: ground.spec.ready_within,
        address,
        is_told_its_port: ground.spec.is_told_its_port(),
        own_network: nest.own_address().is_some(),
        members: nest.members(),
        line,
    }
}

/// Log files that the server writes itself.
pub(crate) fn log_files(ground: &Ground, nest: &Nest, id: InstanceId) -> Vec<PathBuf> {
    // None of them is named after a port: those change.
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), ground.own_port());
    let values = values(ground, nest, id, nowhere);
    let names = ground.spec.logs.files.iter();
    names
        .map(|name| ground.spec.directory.join(values.fill(name)))
        .collect()
}
