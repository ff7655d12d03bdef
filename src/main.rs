//! The program `resumen`. All code is in the library, where tests and benchmarks can use it.

use std::process::ExitCode;

use resumen::extract::{WORKER_COMMAND, run_worker};

fn main() -> ExitCode {
    // Before arguments, logs and threads: a worker sets its limits first.
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|argument| argument == WORKER_COMMAND)
    {
        let parent = arguments.next().and_then(|pid| pid.to_str()?.parse().ok());
        return match parent.map(run_worker) {
            Some(Ok(())) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        };
    }
    // Workers must not inherit the other descriptors that the program was started with.
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
    resumen::cli::main()
}
