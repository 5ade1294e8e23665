//! Pages: `k6/html`, and what responses do with links and forms.

mod support;

use support::{logs, ok, run};

/// Logs what each expression gives for the page.
fn of(page: &str, expressions: &[&str]) -> Vec<String> {
    let body: String = expressions
        .iter()
        .map(|expression| format!("console.log({expression});"))
        .collect();
    logs(&format!(
        "import {{ parseHTML }} from 'k6/html'; const source = {page:?}; export default function () {{ const doc = parseHTML(source); {body} }}"
    ))
}

fn check(page: &str, expected: &[(&str, &str)]) {
    let expressions: Vec<&str> = expected.iter().map(|(expression, _)| *expression).collect();
    let found = of(page, &expressions);
    for (found, (expression, expected)) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{expression}");
    }
    assert_eq!(found.len(), expected.len());
}

const PAGE: &str = r#"<!doctype html><title>A page</title><ul id=list class="big list"><li class=a data-n=1 data-some-thing='{"x":2}'>One<li class="a b">Two <b>bold</b>
    <li>Three</ul><p>x &amp; y<a href="/one?q=1" title='quote "this"'>link</a><!-- unseen --><a name=anchor>none</a><script>if (1 < 2) {}</script>"#;

#[test]
fn selectors_find_what_they_say() {
    check(
        PAGE,
        &[
            ("doc.find('title').text()", "A page"),
            (
                "doc.find('li').size(), doc.find('ul > li.a').size(), doc.find('#list .b').text()",
                "3 2 Two bold\n    ",
            ),
            (
                "doc.find('li:first-child').text(), doc.find('li:nth-child(2n+1)').map((_, li) => li.textContent().trim())",
                r#"One ["One","Three"]"#,
            ),
            (
                "doc.find('li:last-child, title').size(), doc.find('li:not(.a)').text(), doc.find('li:has(b)').attr('class')",
                "2 Three a b",
            ),
            (
                "doc.find('a[href]').size(), doc.find('a[href^=\"/one\"]').size(), doc.find('[title*=this]').attr('href'), doc.find('[class~=big]').size()",
                "1 1 /one?q=1 1",
            ),
            (
                "doc.find('li.a + li').size(), doc.find('li ~ li').size(), doc.find('li:contains(\"Thr\")').size()",
                "2 2 1",
            ),
        ],
    );
    let failed = run(
        "import { parseHTML } from 'k6/html'; export default () => parseHTML('').find('a[');",
        1,
        |_| ok(""),
    );
    assert!(
        failed.failures()[0].starts_with("Error: invalid selector 'a['"),
        "{:?}",
        failed.failures()
    );
}

#[test]
fn selections_are_walked_and_read() {
    check(
        PAGE,
        &[
            (
                "doc.find('li').first().text(), doc.find('li').eq(1).find('b').html(), doc.find('li').last().prev().is('.b')",
                "One bold true",
            ),
            (
                "doc.find('b').parents().map((_, one) => one.nodeName()), doc.find('b').closest('ul').attr('id'), doc.find('b').parent().hasClass",
                r#"["li","ul","body","html"] list undefined"#,
            ),
            (
                "doc.find('ul').children('.a').size(), doc.find('li').filter('.a').not('.b').text(), doc.find('li').slice(1).size()",
                "2 One 2",
            ),
            (
                "doc.find('.a').data('n'), doc.find('.a').data('someThing').x, doc.find('.a').attr('none', 'other'), doc.find('.none').text()",
                "1 2 other ",
            ),
            (
                "doc.find('.a').nextUntil('.none').size(), doc.find('p').contents().size(), doc.find('li').toArray()[2].text()",
                "2 4 Three",
            ),
            (
                "doc.find('p').html()",
                r#"x &amp; y<a href="/one?q=1" title="quote &#34;this&#34;">link</a><a name="anchor">none</a><script>if (1 < 2) {}</script>"#,
            ),
            (
                "doc.find('a').get(0).attributes().href.value, doc.find('a').get(0).getAttribute('title'), doc.find('li').get().length",
                r#"/one?q=1 quote "this" 3"#,
            ),
        ],
    );
    // As browsers read what is not well-formed, and however deep it goes.
    check(
        "<table><tr><td>a<td>b</table><p>one<p>two<div>three</p>",
        &[(
            "doc.find('table > tbody > tr > td').size(), doc.find('p').size(), doc.find('div').text()",
            "2 3 three",
        )],
    );
    check(
        &format!("{}deep", "<div>".repeat(3_000)),
        &[("doc.find('div').size(), doc.text().length", "3000 4")],
    );
}

const FORMS: &str = r#"<a href="next/page?x=1">next</a><form id=search action="/find"><input name=q value="a b"></form>
    <form id=login action="?step=2" method=post><input type=hidden name=csrf value=token><input name=user><input type=checkbox name=keep checked><input type=checkbox name=no>
    <select name=role><option value=r>Reader<option selected>Writer</select><textarea name=note>n</textarea><input name=off disabled value=1><button type=submit name=go value=1>Go</button></form>"#;

#[test]
fn links_are_followed_and_forms_are_sent() {
    let source = "import http from 'k6/http';
        export default function () {
          const page = http.get('http://h/app/login');
          console.log(page.html().find('form').size(), page.html('a').first().get(0).href(), page.html('#login').serialize());
          page.clickLink(); page.clickLink({ selector: 'a[href*=page]', params: { tags: { name: 'n' } } });
          page.submitForm({ formSelector: '#login', fields: { user: 'me', keep: 'no' } }); page.submitForm();
          console.log(JSON.stringify(page.html('#login').serializeObject()));
          page.submitForm({ formSelector: '#none' });
        }";
    let world = run(source, 1, |_| ok(FORMS));
    assert_eq!(
        world.logs(),
        [
            "2 http://h/app/next/page?x=1 csrf=token&user=&keep=on&role=Writer&note=n",
            r#"{"csrf":"token","user":"","keep":"on","role":"Writer","note":"n"}"#
        ]
    );
    let sent: Vec<String> = world.requests[1..]
        .iter()
        .map(|request| {
            let body = String::from_utf8_lossy(&request.body);
            format!("{} {} {body}", request.method, request.url)
        })
        .collect();
    let expected = [
        "GET http://h/app/next/page?x=1 ",
        "GET http://h/app/next/page?x=1 ",
        "POST http://h/app/login?step=2 csrf=token&go=1&keep=no&note=n&role=Writer&user=me",
        "GET http://h/find?q=a%20b ",
    ];
    for (sent, expected) in sent.iter().zip(expected) {
        let (head, fields) = sent.rsplit_once(' ').unwrap();
        let mut fields: Vec<&str> = fields.split('&').collect();
        fields.sort_unstable();
        assert_eq!(format!("{head} {}", fields.join("&")), expected);
    }
    assert_eq!(sent.len(), 4);
    assert_eq!(world.requests[2].name, "n");
    let expected = "Error: no form found for selector '#none' in response 'http://h/app/login' at script.js:8:16";
    assert_eq!(world.failures(), [expected]);
}
