//! The man page, in mdoc(7): a template with what is said by hand, and in it lists made from the code.

use bpfecho::arguments::description::Description;

const TEMPLATE: &str = include_str!("../../man/bpfecho.8.in");

/// The page with the lists in their places.
pub(crate) fn page(options: &[Description], counters: &[&str]) -> String {
    let options: String = options.iter().map(item).collect();
    let counters: Vec<String> = counters.iter().map(|counter| format!(".Cm {counter}")).collect();
    let page = TEMPLATE.replace(".\\\" OPTIONS\n", &options);
    page.replace(".\\\" COUNTERS\n", &format!("{} .\n", counters.join(" ,\n")))
}

fn item(option: &Description) -> String {
    let short = option.short.map_or_else(String::new, |letter| format!("Fl {letter} , "));
    let name = option.name.trim_start_matches('-');
    let value = match &option.value {
        None => String::new(),
        Some(value) if value.optional => format!(" Op Ar {}", value.placeholder),
        Some(value) => format!(" Ar {}", value.placeholder),
    };
    let mut text = escaped(&option.text);
    text[..1].make_ascii_uppercase();
    format!(".It {short}Fl Fl {name}{value}\n{text}.\n")
}

/// `text` as a line of its own, with dashes and backticks that stay what they are.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace("--", "\\-\\-").replace('`', "\\(ga")
}
