//! Capsules that are written, read, and tampered with.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use cohort_capsule::secrets::sift;
use cohort_capsule::{
    Build, Capsule, ENTRY_BYTES_MAX, Error, Host, Manifest, Ran, TOTAL_BYTES_MAX,
};
use cohort_model::{At, Case, CaseId, Stage, Subject, SuiteKind, Symptom, SymptomKind, TestId};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

fn case(message: &str) -> Case {
    Case {
        case: CaseId(3),
        subject: Subject::Test(TestId(7)),
        symptom: Some(Symptom {
            kind: SymptomKind::Exception,
            class: "python OSError".to_owned(),
            message: message.to_owned(),
            frames: Vec::new(),
        }),
        sightings: Vec::new(),
        since: At(5),
        returned: false,
        stage: Stage::Closed,
        verdict: None,
        arms: Vec::new(),
        runs_to_first: Some(4),
        causes: Vec::new(),
        smallest: None,
        minimal: false,
        request: String::new(),
        age_us: 0,
        bound_us: 0,
        variants: Vec::new(),
        remarks: Vec::new(),
    }
}

fn capsule() -> Capsule {
    let ran = Ran::Test {
        suite: SuiteKind::Pytest,
        command: vec!["pytest".to_owned(), "-q".to_owned()],
        program: "python3".to_owned(),
        args: ["-m", "pytest", "tests/test_a.py::test_b"]
            .map(str::to_owned)
            .to_vec(),
        directory: String::new(),
    };
    let mut manifest = Manifest::new(
        case("login with hunter22 failed"),
        "tests/test_a.py::test_b",
        ran,
        "0.1.0",
        1_795_000_000,
    );
    manifest.seed = Some(7);
    manifest
        .tests
        .insert(TestId(2), "tests/test_a.py::test_a".to_owned());
    manifest.host = Host::here(&["rustc", "no-such-program"]);
    let mut capsule = Capsule::new(manifest);
    capsule
        .attach_log("logs/stdout", b"connected as hunter22\n")
        .unwrap();
    capsule
        .attach("threads/3.journal", vec![0, 159, 146, 150])
        .unwrap();
    capsule
}

fn variables() -> Vec<(String, String)> {
    let variables = [
        ("PATH", "/usr/bin"),
        ("DB_PASSWORD", "hunter22"),
        ("LANG", "C.UTF-8"),
        ("DEPLOY_TOKEN", "t0k3n-of-mine"),
    ];
    variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// A folder, and where a capsule would be in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("EC-3.capsule");
    (folder, path)
}

fn said(path: &Path) -> String {
    Capsule::read(path).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_and_the_same_contents_are_the_same_bytes() {
    let (folder, path) = place();
    let mut whole = capsule();
    whole.take_environment(&sift(variables(), false));
    let size = whole.write(&path).unwrap();
    assert_eq!(size, fs::metadata(&path).unwrap().len());
    let read = Capsule::read(&path).unwrap();
    assert_eq!(read.attachments, whole.attachments);
    assert_eq!(read.manifest.case, whole.manifest.case);
    assert_eq!(read.manifest.host, whole.manifest.host);
    let again = folder.path().join("again");
    read.write(&again).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
    assert!(!folder.path().join("EC-3.capsule.new").exists());

    let out = folder.path().join("out");
    read.extract(&out).unwrap();
    assert_eq!(
        fs::read(out.join("threads/3.journal")).unwrap(),
        [0, 159, 146, 150]
    );
    assert!(
        fs::read_to_string(out.join("manifest.json"))
            .unwrap()
            .contains("tests/test_a.py::test_a")
    );
    let error = read.extract(&out).unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
}

#[test]
fn secrets_are_left_out_told_by_name_and_stand_nowhere_in_the_file() {
    let (_folder, path) = place();
    let mut capsule = capsule();
    capsule.take_environment(&sift(variables(), false));
    assert_eq!(capsule.manifest.left_out, ["DB_PASSWORD", "DEPLOY_TOKEN"]);
    assert_eq!(
        capsule.manifest.environment.keys().collect::<Vec<_>>(),
        ["LANG", "PATH"]
    );
    assert_eq!(
        capsule.attachments["logs/stdout"],
        b"connected as <DB_PASSWORD>\n"
    );
    let symptom = capsule.manifest.case.symptom.clone().unwrap();
    assert_eq!(symptom.message, "login with <DB_PASSWORD> failed");
    capsule.write(&path).unwrap();
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(File::open(&path).unwrap()),
        &mut unpacked,
    )
    .unwrap();
    let text = String::from_utf8_lossy(&unpacked);
    assert!(!text.contains("hunter22") && !text.contains("t0k3n-of-mine"));

    let mut all = self::capsule();
    all.take_environment(&sift(variables(), true));
    assert_eq!(all.manifest.environment["DB_PASSWORD"], "hunter22");
    assert!(all.manifest.left_out.is_empty());
}

#[test]
fn a_capsule_that_is_cut_short_says_so() {
    let (folder, path) = place();
    let mut whole = capsule();
    // What cannot be made smaller, so that a cut hits every part.
    let noise: Vec<u8> = (0_u32..60_000)
        .flat_map(|it| Sha256::digest(it.to_le_bytes())[..2].to_vec())
        .collect();
    whole.attach("noise", noise).unwrap();
    whole.write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let short = folder.path().join("short");
    for length in [
        1,
        5,
        20,
        300,
        bytes.len() / 2,
        bytes.len() - 9,
        bytes.len() - 1,
    ] {
        fs::write(&short, &bytes[..length]).unwrap();
        let said = said(&short);
        assert!(
            said.contains("is cut short") && said.contains("copy it again"),
            "{length}: {said}"
        );
    }
    fs::write(&short, b"").unwrap();
    assert!(said(&short).contains("is no capsule: it is empty"));
    fs::write(&short, b"EC-3 failed").unwrap();
    assert!(said(&short).contains("is no capsule: it does not begin as one"));
    assert!(said(&folder.path().join("none")).starts_with("open "));
}

/// An archive as anybody could make one: names and bytes, as they are.
struct Forged(Builder<GzEncoder<File>>);

impl Forged {
    fn new(path: &Path) -> Self {
        Self(Builder::new(GzEncoder::new(
            File::create(path).unwrap(),
            Compression::fast(),
        )))
    }

    fn entry(&mut self, name: &str, kind: EntryType, bytes: &[u8]) -> &mut Self {
        let mut header = Header::new_ustar();
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        if !kind.is_file() {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
        self
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.entry(name, EntryType::Regular, bytes)
    }

    /// A manifest with a checksum that is right, and `entries` in it.
    fn manifest(
        &mut self,
        change: impl Fn(&mut serde_json::Value),
        entries: &[(&str, u64, &[u8])],
    ) -> &mut Self {
        let mut manifest = serde_json::to_value(capsule().manifest).unwrap();
        let told = entries.iter().map(|(name, size, bytes)| serde_json::json!({"name": name, "size": size, "sha256": sha256(bytes)}));
        manifest["entries"] = told.collect();
        change(&mut manifest);
        let bytes = serde_json::to_vec(&manifest).unwrap();
        self.file("manifest.json", &bytes)
            .file("manifest.sha256", sha256(&bytes).as_bytes())
    }

    fn finish(self) {
        self.0
            .into_inner()
            .unwrap()
            .finish()
            .unwrap()
            .flush()
            .unwrap();
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn a_later_version_is_told_with_what_reads_it() {
    let (_folder, path) = place();
    let mut forged = Forged::new(&path);
    let manifest = br#"{"format": 9, "made_by": "2.5.0", "case": "something new"}"#;
    forged
        .file("manifest.json", manifest)
        .file("manifest.sha256", b"as it is done then");
    forged.finish();
    let said = said(&path);
    assert!(said.contains("of format 9, made by cohort 2.5.0"), "{said}");
    assert!(said.ends_with("use cohort 2.5.0 or later"), "{said}");
}

#[test]
fn what_was_edited_is_refused() {
    let (_folder, path) = place();
    let text: &[u8] = b"failed\n";
    let told: &[(&str, u64, &[u8])] = &[("logs/stdout", 7, text)];
    type Edit = fn(&mut Forged);
    let edits: [(&str, Edit); 8] = [
        ("manifest has another checksum", |it| {
            it.file("manifest.json", br#"{"format": 1}"#)
                .file("manifest.sha256", sha256(b"x").as_bytes());
        }),
        ("checksum of its manifest is missing", |it| {
            it.file("manifest.json", br#"{"format": 1}"#)
                .file("logs/stdout", b"x");
        }),
        ("manifest cannot be understood", |it| {
            let bytes = br#"{"format": 1, "case": 7}"#;
            it.file("manifest.json", bytes)
                .file("manifest.sha256", sha256(bytes).as_bytes());
        }),
        ("logs/stdout has another checksum", |it| {
            it.file("logs/stdout", b"passed\n");
        }),
        ("logs/stdout has 6 bytes instead of 7", |it| {
            it.file("logs/stdout", b"passed");
        }),
        ("logs/stderr stands where logs/stdout should", |it| {
            it.file("logs/stderr", b"failed\n");
        }),
        ("logs/more was added", |it| {
            it.file("logs/stdout", b"failed\n").file("logs/more", b"x");
        }),
        ("manifest says no version", |it| {
            it.file("manifest.json", b"[1, 2]")
                .file("manifest.sha256", b"x");
        }),
    ];
    for (expected, edit) in edits {
        let mut forged = Forged::new(&path);
        if expected.starts_with("logs") {
            forged.manifest(|_| {}, told);
        }
        edit(&mut forged);
        forged.finish();
        let said = said(&path);
        assert!(
            said.contains("was changed since it was made") && said.contains(expected),
            "{expected}: {said}"
        );
    }
    let mut forged = Forged::new(&path);
    forged.manifest(|_| {}, told);
    forged.finish();
    let said = said(&path);
    assert!(said.contains("it ends within logs/stdout"), "{said}");
}

#[test]
fn nothing_leaves_the_directory() {
    let (_folder, path) = place();
    for (name, why) in [
        ("../outside", "leads out of its directory"),
        ("logs/../../outside", "leads out of its directory"),
        ("/etc/cron.d/x", "is an absolute path"),
        ("logs//x", "has an empty part"),
        ("./x", "has an empty part"),
        ("logs/a b", "has more than letters"),
        ("logs/a\u{1b}[2J", "has more than letters"),
        ("C:\\x", "has more than letters"),
    ] {
        // Told in the manifest, and not told there.
        for told in [true, false] {
            let mut forged = Forged::new(&path);
            let entries: &[(&str, u64, &[u8])] = if told {
                &[(name, 1, b"x")]
            } else {
                &[("logs/stdout", 1, b"x")]
            };
            forged.manifest(|_| {}, entries).file(name, b"x");
            forged.finish();
            let error = Capsule::read(&path).unwrap_err();
            assert!(matches!(&error, Error::Escapes { .. }), "{name}: {error}");
            assert!(error.to_string().contains(why), "{name}: {error}");
        }
    }
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Fifo,
        EntryType::Directory,
        EntryType::GNULongName,
        EntryType::XHeader,
    ] {
        let mut forged = Forged::new(&path);
        forged
            .manifest(|_| {}, &[("logs/stdout", 0, b"")])
            .entry("logs/stdout", kind, b"");
        forged.finish();
        let said = said(&path);
        assert!(said.contains("which is no plain file"), "{kind:?}: {said}");
    }
    for name in ["../x", "/x", "", "manifest.json", "a//b"] {
        let error = capsule().attach(name, Vec::new()).unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{error}");
    }
    let (folder, _) = place();
    let mut forged = capsule();
    forged.attachments.insert("../x".to_owned(), Vec::new());
    assert!(matches!(
        forged.extract(&folder.path().join("out")),
        Err(Error::Name { .. })
    ));
    assert!(!folder.path().join("x").exists());
}

#[test]
fn bombs_do_not_go_off() {
    let (_folder, path) = place();
    let mut forged = Forged::new(&path);
    forged.manifest(|_| {}, &[("big", ENTRY_BYTES_MAX + 1, b"")]);
    forged.finish();
    assert!(
        said(&path).contains("big of 67108865 bytes"),
        "{}",
        said(&path)
    );

    let mut forged = Forged::new(&path);
    let names: Vec<String> = (0..6).map(|number| format!("part{number}")).collect();
    let entries: Vec<(&str, u64, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), ENTRY_BYTES_MAX, &b""[..]))
        .collect();
    forged.manifest(|_| {}, &entries);
    forged.finish();
    let total = format!("{} bytes, more than {TOTAL_BYTES_MAX}", 6 * ENTRY_BYTES_MAX);
    assert!(said(&path).contains(&total), "{}", said(&path));

    // A sum that goes round.
    let mut forged = Forged::new(&path);
    forged.manifest(|it| it["entries"] = serde_json::json!([{"name": "a", "size": u64::MAX, "sha256": ""}, {"name": "b", "size": 2, "sha256": ""}]), &[]);
    forged.finish();
    assert!(matches!(Capsule::read(&path), Err(Error::TooLarge { .. })));

    // Zeros without end behind what is told: small in the file, endless in memory.
    let mut forged = Forged::new(&path);
    forged.manifest(|_| {}, &[]);
    let mut encoder = forged.0.into_inner().unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..320 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 4 << 20);
    let said = said(&path);
    assert!(said.contains("would unpack to more than it may"), "{said}");
}

#[test]
fn what_is_too_large_is_cut_or_left_out_with_a_line() {
    let mut capsule = capsule();
    let long = vec![b'x'; usize::try_from(ENTRY_BYTES_MAX).unwrap() + 1000];
    capsule.attach_log("logs/stderr", &long).unwrap();
    capsule.attach("core", long).unwrap();
    assert!(capsule.attachments["logs/stderr"].len() as u64 <= ENTRY_BYTES_MAX);
    assert!(!capsule.attachments.contains_key("core"));
    let omitted = &capsule.manifest.omitted;
    assert_eq!(omitted.len(), 2);
    assert!(
        omitted[0].starts_with("logs/stderr: ") && omitted[0].ends_with("bytes were cut out"),
        "{}",
        omitted[0]
    );
    assert!(omitted[1].starts_with("core: left out"), "{}", omitted[1]);
}

#[test]
fn a_build_is_known_by_its_program_and_by_its_commit() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let own = std::env::current_exe().unwrap();
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command
            .arg("-C")
            .arg(root)
            .args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .args(arguments);
        assert!(command.output().unwrap().status.success(), "{arguments:?}");
    };
    let bare = Build::of(Some(&own), root);
    assert_eq!((bare.program.len(), bare.commit.as_str()), (64, ""));
    git(&["init", "-q"]);
    fs::write(root.join("a.py"), "1\n").unwrap();
    git(&["add", "."]);
    git(&["commit", "-qm", "a"]);
    let clean = Build::of(None, root);
    assert_eq!((clean.commit.len(), clean.changes.as_str()), (40, ""));
    assert_eq!(
        clean.differences(&Build::of(None, root)),
        Vec::<String>::new()
    );
    fs::write(root.join("a.py"), "2\n").unwrap();
    let changed = Build::of(None, root);
    assert_eq!(changed.commit, clean.commit);
    assert_eq!(changed, Build::of(None, root));
    let said = clean.differences(&changed);
    assert!(
        said[0].starts_with("what differs from the commit is none there and "),
        "{said:?}"
    );
    git(&["commit", "-qam", "b"]);
    assert!(clean.differences(&Build::of(None, root))[0].starts_with("the commit is "));
    // Nothing is known of the other: nothing is said.
    assert_eq!(Build::default().differences(&clean), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any byte changed, any part cut, doubled or put in: an error, or what was written; never a panic.
    #[test]
    fn whatever_is_done_to_the_file_it_is_as_it_was_or_refused(
        at in 0.0..1.0_f64, value in any::<u8>(), kind in 0..3, more in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (_folder, path) = place();
        let whole = capsule();
        whole.write(&path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = ((bytes.len() - 1) as f64 * at) as usize;
        match kind {
            0 => bytes[at] ^= value,
            1 => bytes.truncate(at),
            _ => {
                bytes.splice(at..at, more);
            }
        }
        fs::write(&path, bytes).unwrap();
        if let Ok(read) = Capsule::read(&path) {
            prop_assert_eq!(read.attachments, whole.attachments);
            prop_assert_eq!(read.manifest.case, whole.manifest.case);
        }
    }
}
