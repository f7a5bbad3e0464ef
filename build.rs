//! Where the linker, and later the programs, find DuckDB's library: `make duckdb` fetches it, as building it takes an hour.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DUCKDB_LIB_DIR");
    if env::var_os("CARGO_FEATURE_DUCKDB_BUNDLED").is_some() {
        return; // part of the programs then
    }
    let macos = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "macos");
    let own = env::var_os("DUCKDB_LIB_DIR").map(PathBuf::from);
    let folder = own.clone().unwrap_or_else(|| variable("CARGO_MANIFEST_DIR").join("vendor/duckdb"));
    let library = folder.join(if macos { "libduckdb.dylib" } else { "libduckdb.so" });
    println!("cargo::rerun-if-changed={}", library.display());
    if !library.exists() {
        println!("cargo::error=DuckDB's library is missing: there is no {}", library.display());
        println!(
            "cargo::error={}",
            match own {
                Some(_) => "DUCKDB_LIB_DIR names its folder; unset it to use the one that `make duckdb` fetches",
                None => "run `make duckdb` (or scripts/fetch-duckdb), which fetches it and checks its SHA-256",
            }
        );
        println!("cargo::error=or have it built from source, which takes about an hour: --features duckdb-bundled");
        return;
    }
    println!("cargo::rustc-link-search=native={}", folder.display());

    // Beside the program (as `make dist` puts it), or in ../lib (as in the image).
    let origin = if macos { "@loader_path" } else { "$ORIGIN" };
    rpath(origin);
    rpath(&format!("{origin}/../lib"));
    // Programs that are to be shipped name no folder of the machine that built them.
    if !is_dist(&variable("OUT_DIR")) {
        rpath(&folder.display().to_string());
    }
}

/// As three arguments: `-Wl,` would cut a path at its commas.
fn rpath(path: &str) {
    for argument in ["-Xlinker", "-rpath", "-Xlinker", path] {
        println!("cargo::rustc-link-arg={argument}");
    }
}

/// OUT_DIR is `{target}/{profile}/build/{package}/out`; cargo tells a build script the profile in no other way.
fn is_dist(out: &Path) -> bool {
    out.ancestors().nth(3).is_some_and(|profile| profile.ends_with("dist"))
}

fn variable(name: &str) -> PathBuf {
    env::var_os(name).map(PathBuf::from).unwrap_or_default()
}
