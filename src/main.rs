//! The program `resumen`. All code is in the library, where tests and benchmarks can use it.

fn main() -> std::process::ExitCode {
    resumen::cli::main()
}
