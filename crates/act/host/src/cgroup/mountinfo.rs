//! `/proc/self/mountinfo` and `/proc/self/cgroup`: where control groups are mounted, and in which
//! of them this process is. Formats: `proc(5)` and `cgroups(7)`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::kernel_file::lines;

/// One mount of a control group file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CgroupMount {
    /// The group that is seen at the mount point.
    pub(super) root: PathBuf,
    /// The mount point.
    pub(super) at: PathBuf,
    /// Controllers of a version 1 hierarchy; `None` for version 2.
    pub(super) controllers: Option<Vec<String>>,
}

/// All mounts of control groups, in order. Lines that make no sense are left out.
pub(super) fn cgroup_mounts(text: &[u8]) -> Vec<CgroupMount> {
    lines(text).filter_map(cgroup_mount).collect()
}

/// `36 35 98:0 /root /mount/point rw,noatime master:1 - type source super,options`
fn cgroup_mount(line: &[u8]) -> Option<CgroupMount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(3);
    let root = unescape(fields.next()?);
    let at = unescape(fields.next()?);
    let mut kind = fields.skip_while(|field| *field != b"-").skip(1);
    let controllers = match kind.next()? {
        b"cgroup2" => None,
        b"cgroup" => {
            let options = String::from_utf8_lossy(kind.nth(1)?).into_owned();
            Some(options.split(',').map(str::to_owned).collect())
        }
        _ => return None,
    };
    Some(CgroupMount {
        root,
        at,
        controllers,
    })
}

/// Blanks, tabs, newlines and backslashes stand as three octal digits behind a backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        let octal = field.get(at + 1..at + 4).filter(|_| field[at] == b'\\');
        let value = octal.and_then(|digits| {
            u8::from_str_radix(
                std::str::from_utf8(digits)
                    .ok()
                    .filter(|text| !text.starts_with('+'))?,
                8,
            )
            .ok()
        });
        plain.push(value.unwrap_or(field[at]));
        at += if value.is_some() { 4 } else { 1 };
    }
    PathBuf::from(OsString::from_vec(plain))
}

/// The group of this process in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Membership {
    /// Controllers of a version 1 hierarchy; empty for version 2.
    pub(super) controllers: Vec<String>,
    /// The group, from the root of the hierarchy (or of our cgroup namespace).
    pub(super) path: PathBuf,
}

/// All lines of `/proc/self/cgroup`: `4:cpu,cpuacct:/path` or, for version 2, `0::/path`.
pub(super) fn memberships(text: &[u8]) -> Vec<Membership> {
    lines(text)
        .filter_map(|line| {
            let mut parts = line.splitn(3, |byte| *byte == b':').skip(1);
            let controllers = std::str::from_utf8(parts.next()?).ok()?;
            let path = PathBuf::from(OsString::from_vec(parts.next()?.to_vec()));
            let controllers = controllers.split(',').filter(|name| !name.is_empty());
            Some(Membership {
                controllers: controllers.map(str::to_owned).collect(),
                path,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    fn escape(path: &[u8]) -> Vec<u8> {
        path.iter()
            .flat_map(|byte| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                other => vec![*other],
            })
            .collect()
    }

    #[test]
    fn other_mounts_are_left_out() {
        let text = b"22 1 0:21 / /proc rw - proc proc rw\n\
            30 23 0:26 /a /sys/fs/cgroup rw,nosuid shared:9 master:3 - cgroup2 cgroup2 rw,nsdelegate\n\
            31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            short line\n";
        let mounts = cgroup_mounts(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].root, PathBuf::from("/a"));
        assert_eq!(mounts[0].controllers, None);
        assert!(
            mounts[1]
                .controllers
                .as_ref()
                .unwrap()
                .contains(&"cpuacct".to_owned())
        );
    }

    proptest! {
        #[test]
        fn mount_points_come_back(root in prop::collection::vec(1u8.., 1..20), at in prop::collection::vec(1u8.., 1..20)) {
            let mut line = b"36 35 98:0 ".to_vec();
            line.extend(escape(&root));
            line.push(b' ');
            line.extend(escape(&at));
            line.extend(b" rw shared:1 - cgroup2 none rw\n");
            let mounts = cgroup_mounts(&line);
            prop_assert_eq!(mounts.len(), 1);
            prop_assert_eq!(mounts[0].root.as_os_str().as_bytes(), &root[..]);
            prop_assert_eq!(mounts[0].at.as_os_str().as_bytes(), &at[..]);
        }

        #[test]
        fn memberships_come_back(path in "/[a-z:@/ -]{0,30}", names in prop::collection::vec("[a-z]{1,8}", 0..4)) {
            let text = format!("3:{}:{path}\n", names.join(","));
            prop_assert_eq!(memberships(text.as_bytes()), vec![Membership { controllers: names, path: path.into() }]);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = cgroup_mounts(&bytes);
            let _ = memberships(&bytes);
        }
    }
}
