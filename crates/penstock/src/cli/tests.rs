//! What is understood, and what is said of what is not.

use clap::CommandFactory;

use super::*;

fn up(args: &[&str]) -> Result<UpArgs, String> {
    let all = ["penstock", "up"].iter().chain(args);
    match Cli::try_parse_from(all) {
        Ok(Cli {
            command: Command::Up(args),
        }) => Ok(*args),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()),
    }
}

#[test]
fn the_command_line_contradicts_itself_nowhere() {
    Cli::command().debug_assert();
}

#[test]
fn a_file_is_all_that_is_needed() {
    let args = up(&["hello.yaml", "-"]).unwrap();
    assert_eq!(
        args.files,
        [PathBuf::from("hello.yaml"), PathBuf::from("-")]
    );
    assert_eq!(args.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(args.admin.to_string(), "127.0.0.1:9090");
    assert_eq!(args.domain, "example.com");
    assert_eq!(args.policy, Policy::Demand);
    assert_eq!(args.log, LogShape::Text);
    assert!(args.config.is_none() && args.images.is_empty() && args.workers.is_none());
}

#[test]
fn what_waiting_is_like_may_be_chosen() {
    let usual = up(&["f"]).unwrap();
    assert_eq!((usual.waiting, usual.waiting_memory), (10_000, 256 << 20));
    assert_eq!(usual.overflow, OverflowStatus::Unavailable);
    assert!(!usual.server_timing && usual.waiting_page.is_none());
    let chosen = up(&[
        "f",
        "--waiting=5",
        "--waiting-memory=64Mi",
        "--overflow=429",
        "--first-window=0",
        "--limit-header=X-Limit-Ms",
        "--server-timing",
        "--waiting-page",
    ]);
    let chosen = chosen.unwrap();
    assert_eq!((chosen.waiting, chosen.waiting_memory), (5, 64 << 20));
    assert_eq!(chosen.overflow, OverflowStatus::TooMany);
    assert_eq!(chosen.first_window, 0);
    assert_eq!(chosen.limit_header.unwrap(), "x-limit-ms");
    assert!(chosen.server_timing);
    assert_eq!(chosen.waiting_page, Some(Duration::from_secs(1)));
    let page = up(&["f", "--waiting-page=300ms"]).unwrap().waiting_page;
    assert_eq!(page, Some(Duration::from_millis(300)));
    for bad in [
        "--waiting=x",
        "--waiting-memory=1K",
        "--overflow=500",
        "--waiting-page=soon",
    ] {
        assert!(up(&["f", bad]).is_err(), "{bad}");
    }
}

#[test]
fn addresses_and_domains_are_taken_as_people_write_them() {
    let args = [
        "f",
        "--listen",
        "localhost:80",
        "--admin",
        "[::1]:0",
        "--domain",
        "LocalHost",
    ];
    let args = up(&args).unwrap();
    assert_eq!(args.listen.to_string(), "127.0.0.1:80");
    assert_eq!(args.admin.to_string(), "[::1]:0");
    assert_eq!(args.domain, "localhost");
}

#[test]
fn each_wrong_value_is_answered_with_one_sentence() {
    let table: [(&[&str], &str); 9] = [
        (
            &["f", "--listen", "8080"],
            "error: invalid value '8080' for '--listen <ADDR>': \
             it must be an IP address and a port, such as 127.0.0.1:8080",
        ),
        (
            &["f", "--admin", "host:1"],
            "error: invalid value 'host:1' for '--admin <ADDR>': \
             it must be an IP address and a port, such as 127.0.0.1:8080",
        ),
        (
            &["f", "--domain", "a..b"],
            "error: invalid value 'a..b' for '--domain <DOMAIN>': \
             it must be a DNS name, such as example.com or localhost",
        ),
        (
            &["f", "--image", "app"],
            "error: invalid value 'app' for '--image <NAME=COMMAND>': it must be NAME=COMMAND",
        ),
        (
            &["f", "--policy", "fast"],
            "error: invalid value 'fast' for '--policy <POLICY>'",
        ),
        (
            &["f", "--workers", "0"],
            "error: invalid value '0' for '--workers <N>': number would be zero for non-zero type",
        ),
        (
            &["f", "--log-level", "loud"],
            "error: invalid value 'loud' for '--log-level <LEVEL>': \
             \"loud\" in the log filter \"loud\" is not a level; \
             levels are off, error, warn, info, debug and trace, alone or as module=level",
        ),
        (
            &[],
            "error: the following required arguments were not provided:",
        ),
        (
            &["f", "--lisen", "x"],
            "error: unexpected argument '--lisen' found",
        ),
    ];
    for (args, want) in table {
        assert_eq!(up(args).unwrap_err(), want, "{args:?}");
    }
}

#[test]
fn a_sample_takes_the_arguments_that_its_image_would_ignore() {
    let all = ["penstock", "sample", "hello", "--port", "8080", "x"];
    let Command::Sample(args) = Cli::try_parse_from(all).unwrap().command else {
        panic!("another command");
    };
    assert_eq!(args.name, "hello");
    assert!(Cli::try_parse_from(["penstock", "sample", "hallo"]).is_err());
}
