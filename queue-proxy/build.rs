//! Has the linker pack the program's relocations where libc can unpack them: 200 KiB less to read
//! and keep in memory beside every pod. glibc can since 2.36; an older one would refuse to start
//! the program.

#![expect(
    clippy::disallowed_methods,
    reason = "this is how cargo speaks with a build script"
)]

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let [Ok(host), Ok(target)] = ["HOST", "TARGET"].map(env::var) else {
        return;
    };
    if host == target && target.ends_with("-linux-gnu") && glibc().is_some_and(|it| it >= (2, 36)) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this system's libc.
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let told = String::from_utf8(told.ok()?.stdout).ok()?;
    let (major, minor) = told.strip_prefix("glibc ")?.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
