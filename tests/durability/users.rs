//! The users in their file: what a start reads and refuses, and that a crash in the middle of ACL SAVE leaves a whole file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::power::Strace;
use super::server::{Server, is_error, is_ok, run_to_end, wait_until};
use super::support::resp::Connection;

/// Kills in the middle of ACL SAVE.
const KILLS: usize = 10;

/// Enough for a file of a hundred kilobytes, which no single system call surely writes.
const USERS: usize = 1_000;

fn file_with(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.acl");
    fs::write(&path, text).expect("written");
    (folder, path)
}

fn start(aclfile: &Path) -> Server {
    Server::start("memory://", &["--aclfile", &aclfile.display().to_string()])
}

fn call(connection: &mut Connection, line: &str) -> String {
    format!("{:?}", connection.call(&line.split(' ').collect::<Vec<_>>()).expect("a reply"))
}

#[test]
fn a_bad_aclfile_ends_the_start_and_names_each_line_without_its_passwords() {
    let (_folder, path) = file_with("user a on >hunter2 hunter2\nuser b +nosuch\nusr c\n");
    let (code, output) = run_to_end("memory://", &["--aclfile", &path.display().to_string()]);
    assert_eq!(code, Some(1), "{output}");
    let path = path.display();
    for part in [
        format!("aclfile: {path}:1: Syntax error."),
        format!("{path}:2: Error in applying operation '+nosuch': Unknown command or category name in ACL."),
        format!("{path}:3 should start with user keyword"),
    ] {
        assert!(output.contains(&part), "{part:?} is not in: {output}");
    }
    assert!(!output.contains("hunter2"), "{output}");
    let (code, output) = run_to_end("memory://", &["--aclfile", "/no/such/file"]);
    assert!(code == Some(1) && output.contains("/no/such/file") && output.contains("No such file"), "{output}");
}

#[test]
fn users_that_were_saved_survive_a_kill_and_others_do_not() {
    let (_folder, path) = file_with("");
    let server = start(&path);
    let mut admin = server.connect();
    assert_eq!(call(&mut admin, "ACL SETUSER saved on >pw +get %R~a* (+set ~b*)"), "+OK");
    assert_eq!(call(&mut admin, "ACL SAVE"), "+OK");
    assert_eq!(call(&mut admin, "ACL SETUSER forgotten on >pw"), "+OK");
    let shown = call(&mut admin, "ACL GETUSER saved");
    server.kill();
    let server = start(&path);
    let mut admin = server.connect();
    assert_eq!(call(&mut admin, "ACL USERS"), "*[$\"default\", $\"saved\"]");
    assert_eq!(call(&mut admin, "ACL GETUSER saved"), shown);
    assert_eq!(call(&mut admin, "AUTH saved pw"), "+OK");
    assert_eq!(call(&mut admin, "GET a"), "$-1");
    assert!(call(&mut admin, "GET b").starts_with("-NOPERM"));
}

#[test]
fn a_kill_while_the_users_are_saved_leaves_the_old_file_or_the_new_one() {
    let (folder, path) = file_with("");
    for round in 0..KILLS {
        let server = start(&path);
        let mut admin = server.connect();
        for number in 0..USERS {
            let name = format!("user{number}");
            assert_eq!(call(&mut admin, &format!("ACL SETUSER {name} reset on >{round} ~{round}:*")), "+OK");
        }
        let mut saver = server.connect();
        saver.send(&super::support::resp::encode(&["ACL", "SAVE"]).repeat(100)).expect("sent");
        // Somewhere in the middle of the hundred, each round elsewhere.
        let until = Instant::now() + Duration::from_millis(u64::try_from(round).expect("small") * 3);
        wait_until("the moment", || Instant::now() >= until);
        server.kill();
        let lines = fs::read_to_string(&path).expect("the file");
        let rounds: std::collections::BTreeSet<_> =
            lines.lines().filter_map(|line| line.split(" ~").nth(1)?.split(":*").next()).collect();
        assert!(rounds.len() <= 2, "half of one file and half of another: {rounds:?}");
        assert!(lines.is_empty() || lines.lines().count() == USERS + 1, "half a file");
    }
    let names: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(names.len() <= 2, "temporary files are left: {names:?}");
}

/// A kill does not try the disk: the page cache survives it. So the order of the system calls is looked at.
#[test]
fn acl_save_is_answered_when_the_file_and_its_name_are_on_disk() {
    let (folder, path) = file_with("");
    let server = start(&path);
    let mut admin = server.connect();
    assert_eq!(call(&mut admin, "ACL SETUSER traced-user on"), "+OK");
    let calls = "write,fsync,fdatasync,rename,renameat,renameat2,sendto,sendmsg";
    let strace = Strace::attach(&[server.pid()], calls);
    assert_eq!(call(&mut admin, "ACL SAVE"), "+OK");
    let trace = strace.end();
    let (file, folder) = (format!("<{}.tmp>", path.display()), format!("<{}>", folder.path().display()));
    let line = |what: &str, parts: &[&str]| {
        let found = trace.lines().position(|line| parts.iter().all(|part| line.contains(part)));
        found.unwrap_or_else(|| panic!("{what} is missing: {trace}"))
    };
    let steps = [
        line("the write", &["write(", &file, "traced-user"]),
        line("the flush of the file", &["sync(", &file]),
        line("the new name", &["rename", "users.acl.tmp"]),
        line("the flush of the folder", &["sync(", &folder]),
        line("the reply", &["socket:", "+OK"]),
    ];
    assert!(steps.is_sorted(), "{steps:?}: {trace}");
}

#[test]
fn acl_load_takes_all_or_nothing_and_ends_the_connections_of_the_old_users() {
    let (_folder, path) = file_with("user u on >pw +@all ~*\n");
    let server = start(&path);
    let (mut admin, mut user) = (server.connect(), server.connect());
    assert_eq!(call(&mut user, "AUTH u pw"), "+OK");
    fs::write(&path, "user u on >pw +@all ~*\nuser v nosuch\n").expect("written");
    let refusal = format!(
        "-ERR {}:2: Syntax error. WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
        path.display()
    );
    assert_eq!(call(&mut admin, "ACL LOAD"), refusal);
    assert_eq!(call(&mut user, "PING"), "+PONG");
    fs::write(&path, "user u on >pw +@all ~*\nuser v on nopass +get ~*\n").expect("written");
    assert_eq!(call(&mut admin, "ACL LOAD"), "+OK");
    assert!(user.is_closed());
    assert_eq!(call(&mut admin, "ACL USERS"), "*[$\"default\", $\"u\", $\"v\"]");
    fs::remove_file(&path).expect("removed");
    assert!(call(&mut admin, "ACL LOAD").starts_with("-ERR Error loading ACLs, opening file"));
    assert_eq!(call(&mut admin, "ACL USERS"), "*[$\"default\", $\"u\", $\"v\"]");
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_changes_nothing() {
    let (folder, path) = file_with("user u on >pw\n");
    let server = start(&path);
    fs::create_dir(folder.path().join("users.acl.tmp")).expect("a folder in the way");
    assert!(is_error(&server.call(&["ACL", "SAVE"]), "ERR There was an error trying to save the ACLs."));
    server.wait_for_log("the aclfile could not be written");
    assert_eq!(fs::read_to_string(&path).expect("the file"), "user u on >pw\n");
}

#[test]
fn requirepass_that_the_aclfile_overrules_is_warned_of() {
    let (_folder, path) = file_with("user u on >pw\n");
    let server = Server::start("memory://", &["--aclfile", &path.display().to_string(), "--requirepass", "hunter2"]);
    server.wait_for_log("requirepass is not in force");
    assert!(!server.log().contains("hunter2"));
}

#[test]
fn the_password_may_stand_in_a_file() {
    let (_folder, path) = file_with("open sesame\n");
    let path = path.display().to_string();
    let mut server = Server::spawn("memory://", &["--requirepass-file", &path]);
    wait_until("the server to ask for a password", || {
        server.try_call(&["PING"]).is_some_and(|reply| is_error(&reply, "NOAUTH"))
    });
    assert!(is_error(&server.call(&["AUTH", "open sesame\n"]), "WRONGPASS"));
    assert!(is_ok(&server.call(&["AUTH", "open sesame"])));
    assert!(!server.log().contains("sesame"));
    server.stop();
    let (code, output) = run_to_end("memory://", &["--requirepass-file", &path, "--requirepass", "hunter2"]);
    assert!(code == Some(2) && output.contains("requirepass-file: requirepass is given too"), "{output}");
    assert!(!output.contains("hunter2") && !output.contains("sesame"), "{output}");
}
