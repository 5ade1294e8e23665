//! Relative links in the repository's Markdown lead to files that are there.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::run;

/// Folders that are not part of the repository.
const LEFT_OUT: [&str; 4] = ["target", ".git", ".cohort", "node_modules"];

/// One sentence for each link that leads nowhere, in all `*.md` below `root`.
pub(crate) fn breaches(root: &Path) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for file in markdown_below(root)? {
        let folder = file.parent().unwrap_or(root);
        for link in relative_links(&run::read(&file)?) {
            if !folder.join(&link).exists() {
                let file = file.strip_prefix(root).unwrap_or(&file).display();
                found.push(format!("{file} links to {link}, which is not there"));
            }
        }
    }
    Ok(found)
}

fn markdown_below(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        let failed = |source| Error::File {
            path: folder.clone(),
            action: "read",
            source,
        };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            let left_out = LEFT_OUT.iter().any(|name| entry.file_name() == *name);
            if kind.is_dir() && !left_out {
                open.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|e| e == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Targets of `[text](target)` and `[name]: target` outside code, without `#fragment`, that are no
/// URLs.
fn relative_links(text: &str) -> Vec<String> {
    let mut links: Vec<String> = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second piece between backticks is code.
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for rest in plain.split("](").skip(1) {
            links.extend(rest.split([')', ' ']).next().map(String::from));
        }
        if let Some((name, target)) = plain.split_once("]: ")
            && name.starts_with('[')
        {
            links.extend(target.split_whitespace().next().map(String::from));
        }
    }
    let mut kept = Vec::new();
    for link in links {
        let path = link.split('#').next().unwrap_or("");
        if !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:") {
            kept.push(path.to_string());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_this_repository_lead_somewhere() {
        assert_eq!(
            breaches(&run::root()).expect("readable"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn only_relative_links_outside_code_count() {
        let text = "see [a](docs/a.md#part), [b](https://x.y/z), [c](#here) and `[d](d.md)`\n\
                    ![p](p.png \"title\")\n```\n[e](e.md)\n```\n[f]: f.md\n";
        assert_eq!(relative_links(text), ["docs/a.md", "p.png", "f.md"]);
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let write = |name: &str, text: &str| {
            run::write(&folder.path().join(name), text).expect("writable");
        };
        write("README.md", "[there](docs/there.md) [gone](docs/gone.md)");
        write("docs/there.md", "[up](../README.md)");
        write("target/README.md", "[gone](gone.md)");
        let found = breaches(folder.path()).expect("readable");
        assert_eq!(
            found,
            ["README.md links to docs/gone.md, which is not there"]
        );
    }
}
