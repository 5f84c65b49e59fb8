//! A new password: from the terminal, without echo and twice, or from stdin.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, ensure};

/// A new password for this user.
pub(super) fn new(user: &str) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let password = if stdin.is_terminal() {
        let ask = |prompt| rpassword::prompt_password(prompt).context("cannot ask for the password");
        let password = ask(format!("New password of {user}: "))?;
        ensure!(password == ask("Again: ".to_owned())?, "that was not the same");
        password
    } else {
        first_line(stdin.lock())?
    };
    ensure!(!password.is_empty(), "an empty password is no password");
    // Whoever has to type it again could not.
    ensure!(!password.contains(char::is_control), "a password must have no control characters");
    Ok(password)
}

fn first_line(mut input: impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    input.read_line(&mut line).context("cannot read the password from stdin")?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts() {
        for (input, line) in
            [("a b \nc\n", "a b "), ("a", "a"), ("a\r\n", "a"), ("", ""), ("\na", ""), ("a:\u{f6}\n", "a:ö")]
        {
            assert_eq!(first_line(input.as_bytes()).unwrap(), line, "{input:?}");
        }
        assert!(first_line(&b"\xff\n"[..]).is_err());
    }
}
