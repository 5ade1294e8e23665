//! What can be typed after `cohort`, and how it is explained.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use cohort_model::Policy;

use crate::config::units;
use crate::exit;

const RUN_EXAMPLES: &str = "\
Examples:
  cohort run                              the suite or server of this project, as cohort.toml says
  cohort run -- cargo test --workspace    a cargo suite, with its own arguments
  cohort run --junit out.xml -- pytest -x tests/unit
  cohort run --memory 2GiB --cpus 1.5 --isolate mount,pid -- cargo test
  cohort run --dry-run                    what would be run, and what is expected of it
  cohort run --stress test_totals --for 5m    can it fail? Only this test, under varied conditions

A server is run, called and watched beside a cohort.toml that names it:
  [sut]
  command = \"./server --port {port}\"     or it takes PORT, or has a port of its own
  ready = { http = \"/health\" }           or { tcp = true }, or { log = \"part of a line\" }
  [scenario]
  script = \"load.js\"                     a k6 script; `cohort script` writes a first one
  driver = \"python drive.py {host} {port}\"   or any other program in its place
  cohort run --vus 20 --duration 5m       in place of the load that the script asks for";

const REPRO_EXAMPLES: &str = "\
Examples:
  cohort repro EC-3                  10 times, as it was seen to fail with the least
  cohort repro EC-3 --runs 100
  cohort repro EC-3 --for 2m         as often as 2 minutes allow
  cohort repro EC-3 --shell          a shell where it fails: same limits, variables and directory
  cohort repro EC-3.capsule          a capsule from elsewhere, in a checkout of the same project

Exit code 0: it failed again. 1: it did not. Else as `cohort --help` lists them.";

/// Runs a test suite, or a server under load, in instances that adapt to what they are seen doing.
#[derive(Debug, Parser)]
#[command(
    name = "cohort",
    version,
    after_help = "Start with: cohort run -- cargo test\nA server under load: see cohort run --help",
    after_long_help = exit::help(),
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    /// Work as if started in DIR
    #[arg(short = 'C', long, value_name = "DIR", global = true)]
    pub(crate) directory: Option<PathBuf>,
    /// When to use colours
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, global = true)]
    pub(crate) color: When,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a test suite, or the server that cohort.toml names
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunFlags>),
    /// Finish an interrupted campaign, without running a finished test again
    Resume {
        #[command(flatten)]
        campaign: Campaign,
        #[command(flatten)]
        faces: Faces,
    },
    /// Decide a campaign again from its record, and say whether the decisions are the same
    Replay {
        #[command(flatten)]
        campaign: Campaign,
    },
    /// Show the summary of a campaign again, or all that is known of an edge case
    Show {
        /// Name of a campaign, or an edge case such as EC-3, or the file of a capsule [default: the
        /// latest campaign of this project]
        #[arg(value_name = "CAMPAIGN|CASE|FILE")]
        what: Option<String>,
        /// Also write the campaign as JUnit XML
        #[arg(long, value_name = "FILE", value_parser = report_file())]
        junit: Option<PathBuf>,
        /// The edge case in Markdown, to paste into an issue
        #[arg(long, conflicts_with_all = ["junit", "json"])]
        markdown: bool,
        /// The edge case as JSON, for programs
        #[arg(long, conflicts_with = "junit")]
        json: bool,
    },
    /// Run an edge case again under its conditions, and say how often it failed
    #[command(after_help = REPRO_EXAMPLES)]
    Repro(ReproFlags),
    /// Write a first k6 script from what is there already
    Script {
        #[command(subcommand)]
        source: ScriptSource,
    },
    /// Say what this host can do for Cohort, what each is needed for, and how to enable it
    Doctor,
    /// List the helpers that are deployed on suspicion, and what they need that this host lacks
    Helpers,
    /// Print completions for a shell
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the JSON schema of the lines that --events writes
    Schema,
    /// Drives scenario threads; started by Cohort itself.
    #[command(hide = true)]
    Agent,
    /// Looks for weaknesses of a server; started by Cohort itself.
    #[command(hide = true)]
    Scan {
        /// What it is told, as JSON; the file is removed
        #[arg(value_name = "FILE")]
        plan: PathBuf,
    },
    /// Runs a harness on input after input; started by Cohort itself.
    #[command(hide = true)]
    Harness {
        /// What it is told, as JSON
        #[arg(value_name = "FILE")]
        plan: PathBuf,
    },
    /// Runs one program under conditions; started by Cohort itself.
    #[command(hide = true)]
    Under {
        /// Which conditions, as JSON
        #[arg(long, value_name = "FILE")]
        order: PathBuf,
        /// The program and its arguments
        #[arg(last = true, required = true, value_name = "PROGRAM")]
        program: Vec<OsString>,
    },
    /// First process of an instance; started by Cohort itself.
    #[command(hide = true)]
    InstanceInit {
        /// From Cohort to itself.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Flags of `cohort repro`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReproFlags {
    /// An edge case such as EC-3, or the file of a capsule
    #[arg(value_name = "CASE|FILE")]
    pub(crate) what: String,
    /// How many times [default: 10, or as often as --for allows]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: Option<u32>,
    /// For how long at most
    #[arg(long = "for", value_name = "TIME", value_parser = units::time_us)]
    pub(crate) time: Option<u64>,
    /// Open a shell in an instance of the same conditions, instead of running it
    #[arg(long, conflicts_with_all = ["runs", "time"])]
    pub(crate) shell: bool,
    /// What to show while it runs: `auto` is live in a terminal and plain elsewhere
    #[arg(long, value_name = "KIND", value_enum, default_value_t)]
    pub(crate) progress: Progress,
}

/// What a script is made of.
#[derive(Debug, Subcommand)]
pub(crate) enum ScriptSource {
    /// From what a browser recorded (its developer tools save a HAR file)
    FromHar {
        /// The HAR file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where to write it [default: standard output]; an existing file is left alone
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// From a description of the service: OpenAPI 3 or Swagger 2, JSON or YAML
    FromOpenapi {
        /// The description
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where to write it [default: standard output]; an existing file is left alone
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Which campaign.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Campaign {
    /// Name of the campaign [default: the latest of this project]
    #[arg(value_name = "CAMPAIGN")]
    pub(crate) name: Option<String>,
}

/// Where a campaign is seen.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Faces {
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE", value_parser = report_file())]
    pub(crate) junit: Option<PathBuf>,
    /// Write every event as a line of JSON (see `cohort schema`)
    #[arg(long, value_name = "FILE", value_parser = report_file())]
    pub(crate) events: Option<PathBuf>,
    /// What to show while tests run: `auto` is live in a terminal and plain elsewhere
    #[arg(long, value_name = "KIND", value_enum, default_value_t)]
    pub(crate) progress: Progress,
}

/// Flags of `cohort run`; each wins over the key of the same name in `cohort.toml`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RunFlags {
    #[command(flatten)]
    pub(crate) faces: Faces,
    /// Print what would be run and what is expected of it, and run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Fail when a test is load-sensitive: failed on a crowded instance, passed on a quiet one
    #[arg(long)]
    pub(crate) strict: bool,
    /// Cores to use, such as 1.5 [default: all that this process may use]
    #[arg(
        long,
        value_name = "CORES",
        help_heading = "Budget",
        allow_negative_numbers = true
    )]
    pub(crate) cpus: Option<f64>,
    /// Memory to use, such as 2GiB [default: what is free, with headroom]
    #[arg(long, value_name = "SIZE", help_heading = "Budget", value_parser = units::bytes)]
    pub(crate) memory: Option<u64>,
    /// Most instances at once [default: 64]
    #[arg(long, value_name = "COUNT", help_heading = "Budget")]
    pub(crate) instances: Option<u32>,
    /// Kill a test that runs longer [default: 1h]
    #[arg(long, value_name = "TIME", help_heading = "Budget", value_parser = units::time_us)]
    pub(crate) timeout: Option<u64>,
    /// Kill a test that stands still longer: no CPU, no IO [default: 10m]
    #[arg(long, value_name = "TIME", help_heading = "Budget", value_parser = units::time_us)]
    pub(crate) stall: Option<u64>,
    /// `adaptive` follows what the tests do; `static` is the baseline: one test per core, in order
    #[arg(long, value_name = "POLICY", help_heading = "Instances", value_parser = policy)]
    pub(crate) policy: Option<Policy>,
    /// Private namespaces of each instance: mount, pid, net, separated by commas, or none
    #[arg(
        long,
        value_name = "KINDS",
        help_heading = "Instances",
        value_enum,
        value_delimiter = ','
    )]
    pub(crate) isolate: Vec<Namespace>,
    /// How long what failed may be tried again once all tests have ended [default: 60s]
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "Edge cases",
        value_parser = units::time_us,
        conflicts_with = "no_reproduce"
    )]
    pub(crate) reproduce_for: Option<u64>,
    /// Do not try again under other conditions what failed
    #[arg(long, help_heading = "Edge cases")]
    pub(crate) no_reproduce: bool,
    /// Server: change requests of the scenario by their structure and send them to an instance of their own, for
    /// so long in all. Harness ([fuzz] in cohort.toml, or cargo-fuzz): give it inputs for so long. What breaks
    /// becomes an edge case
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "Edge cases",
        value_parser = units::time_us,
        conflicts_with = "no_reproduce"
    )]
    pub(crate) fuzz: Option<u64>,
    /// Run nothing but the tests whose name is, or else holds, TEST, again and again under varied
    /// conditions on all instances
    #[arg(
        long,
        value_name = "TEST",
        help_heading = "Edge cases",
        conflicts_with_all = ["no_reproduce", "reproduce_for", "dry_run"]
    )]
    pub(crate) stress: Option<String>,
    /// With --stress, for how long at most [default: 5m]
    #[arg(
        long = "for",
        value_name = "TIME",
        help_heading = "Edge cases",
        requires = "stress",
        value_parser = units::time_us
    )]
    pub(crate) stress_for: Option<u64>,
    /// With --stress, end when it fails less often than this for sure, such as 1% or 0.01 [default: 0.1%]
    #[arg(
        long,
        value_name = "RATE",
        help_heading = "Edge cases",
        requires = "stress",
        value_parser = units::share
    )]
    pub(crate) below: Option<f64>,
    /// With --stress, how sure that has to be [default: 95%]
    #[arg(
        long,
        value_name = "SHARE",
        help_heading = "Edge cases",
        requires = "stress",
        value_parser = units::share
    )]
    pub(crate) confidence: Option<f64>,
    /// Scenario threads at once; in place of what a script without `scenarios` says
    #[arg(long, value_name = "COUNT", help_heading = "Service")]
    pub(crate) vus: Option<u32>,
    /// How long they run, whatever the script says
    #[arg(long, value_name = "TIME", help_heading = "Service", value_parser = units::time_us)]
    pub(crate) duration: Option<u64>,
    /// Iterations of all of them together, whatever the script says
    #[arg(long, value_name = "COUNT", help_heading = "Service")]
    pub(crate) iterations: Option<u64>,
    /// Seed of all that is random in the scenario [default: 1]
    #[arg(long, value_name = "NUMBER", help_heading = "Service")]
    pub(crate) seed: Option<u64>,
    /// The k6 script that calls the service
    #[arg(long, value_name = "FILE", help_heading = "Service")]
    pub(crate) script: Option<PathBuf>,
    /// The suite's command with its own arguments [default: recognized from the directory]
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// In a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What is shown while tests run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// Live in a terminal, plain elsewhere
    #[default]
    Auto,
    /// What each instance is for and does now
    Live,
    /// A line for each failure, and now and then how far it is
    Plain,
    /// Only the summary
    None,
}

/// A private namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Namespace {
    /// Own mount table with a private /tmp
    Mount,
    /// Own process ids
    Pid,
    /// Own network with loopback only
    Net,
    /// No private namespace, whatever cohort.toml says
    None,
}

/// A file by its name; that of no file is not taken for one.
fn report_file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.to_str() {
        Some("-") => Err("for standard output, write /dev/stdout"),
        _ => Ok(path),
    })
}

fn policy(text: &str) -> Result<Policy, String> {
    match text {
        "adaptive" => Ok(Policy::Adaptive),
        "static" => Ok(Policy::Static),
        _ => Err("expected adaptive or static".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run(words: &[&str]) -> RunFlags {
        let arguments = Arguments::try_parse_from([&["cohort", "run"], words].concat());
        match arguments
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
            .command
        {
            Command::Run(flags) => *flags,
            other => panic!("{other:?}"),
        }
    }

    fn refused(words: &[&str]) -> String {
        let error = Arguments::try_parse_from(words).expect_err("must be refused");
        assert_eq!(error.exit_code(), i32::from(exit::Exit::Usage.code()));
        error.to_string()
    }

    #[test]
    fn a_dash_is_no_file() {
        for words in [
            &["cohort", "run", "--junit", "-"],
            &["cohort", "run", "--events", "-"],
            &["cohort", "show", "--junit", "-"],
            &["cohort", "resume", "--events", "-"],
        ] {
            let said = refused(words);
            assert!(said.contains("write /dev/stdout"), "{said}");
        }
        assert_eq!(run(&["--junit", "./-"]).faces.junit, Some("./-".into()));
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_command_may_stand_with_and_without_dashes() {
        let plain = ["cargo", "test", "--release", "--", "--ignored", "a b"];
        assert_eq!(run(&plain).command, plain);
        assert_eq!(run(&[&["--"], &plain[..]].concat()).command, plain);
        let flags = run(&[
            "--strict", "--memory", "2GiB", "--", "pytest", "--junit", "x",
        ]);
        assert_eq!(flags.command, ["pytest", "--junit", "x"]);
        assert_eq!(
            (flags.strict, flags.memory, flags.faces.junit),
            (true, Some(2 << 30), None)
        );
        let flags = run(&["--junit", "out.xml", "pytest", "-x", "--strict"]);
        assert_eq!(flags.command, ["pytest", "-x", "--strict"]);
        assert!(
            !flags.strict,
            "flags after the command are the command's own"
        );
        assert_eq!(run(&[]).command, [""; 0]);
    }

    #[test]
    fn flags_have_units() {
        let flags = run(&["--timeout", "1h30m", "--stall", "90s", "--cpus", "1.5"]);
        assert_eq!(flags.timeout, Some(5_400_000_000));
        assert_eq!(flags.stall, Some(90_000_000));
        assert_eq!(flags.cpus, Some(1.5));
        assert!(refused(&["cohort", "run", "--timeout", "90"]).contains("\"90s\""));
        assert!(refused(&["cohort", "run", "--memory", "2"]).contains("\"2GiB\""));
        assert!(refused(&["cohort", "run", "--policy", "fast"]).contains("adaptive or static"));
    }

    #[test]
    fn stress_has_a_rate_and_a_confidence() {
        let words = ["--stress", "totals", "--for", "2m", "--below", "0.5%"];
        let flags = run(&[&words[..], &["--confidence", "0.99", "pytest"]].concat());
        assert_eq!(flags.stress.as_deref(), Some("totals"));
        assert_eq!(flags.stress_for, Some(120_000_000));
        assert_eq!((flags.below, flags.confidence), (Some(0.005), Some(0.99)));
        assert_eq!(flags.command, ["pytest"]);
        let said = refused(&["cohort", "run", "--for", "2m"]);
        assert!(said.contains("--stress"), "{said}");
        let said = refused(&["cohort", "run", "--stress", "x", "--below", "3"]);
        assert!(said.contains("between 0 and 1"), "{said}");
        refused(&["cohort", "run", "--stress", "x", "--no-reproduce"]);
    }

    #[test]
    fn a_case_is_run_again_so_often_or_in_a_shell() {
        refused(&["cohort", "repro"]);
        refused(&["cohort", "repro", "EC-3", "--runs", "0"]);
        refused(&["cohort", "repro", "EC-3", "--shell", "--runs", "3"]);
        refused(&["cohort", "show", "EC-3", "--json", "--markdown"]);
    }

    #[test]
    fn namespaces_are_a_list() {
        let flags = run(&["--isolate", "mount,net"]);
        assert_eq!(flags.isolate, [Namespace::Mount, Namespace::Net]);
        assert!(refused(&["cohort", "run", "--isolate", "disk"]).contains("mount, pid, net, none"));
    }

    #[test]
    fn a_mistyped_flag_is_not_taken_for_a_command() {
        assert!(refused(&["cohort", "run", "--memroy", "2GiB"]).contains("'--memory'"));
        assert!(refused(&["cohort", "resmue"]).contains("'resume'"));
        assert!(refused(&["cohort"]).contains("cohort run -- cargo test"));
    }

    #[test]
    fn help_shows_examples_and_codes() {
        let mut command = Arguments::command();
        let help = command.render_long_help().to_string();
        assert!(
            help.contains("Exit codes:\n    0  all tests passed"),
            "{help}"
        );
        assert!(!help.contains("instance-init"), "{help}");
        let run = command
            .find_subcommand_mut("run")
            .unwrap()
            .render_help()
            .to_string();
        assert!(
            run.contains("cohort run -- cargo test --workspace"),
            "{run}"
        );
    }

    #[test]
    fn the_other_commands() {
        let parse = |words: &[&str]| Arguments::try_parse_from(words).unwrap();
        let resume = parse(&["cohort", "resume", "--progress", "plain", "-C", "/x"]);
        assert_eq!(resume.directory, Some(PathBuf::from("/x")));
        assert!(matches!(resume.command, Command::Resume { campaign, faces }
            if campaign.name.is_none() && faces.progress == Progress::Plain));
        let show = parse(&["cohort", "--color", "never", "show", "monday"]);
        assert_eq!(show.color, When::Never);
        assert!(matches!(show.command, Command::Show { what, .. }
            if what.as_deref() == Some("monday")));
        let init = parse(&["cohort", "instance-init", "--fd", "3"]);
        assert!(matches!(init.command, Command::InstanceInit { arguments }
            if arguments == ["--fd", "3"]));
    }
}
