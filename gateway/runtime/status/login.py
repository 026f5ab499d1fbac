"""The form that asks a browser for the token; it needs no other file, since those are behind the token."""

from __future__ import annotations

import base64
import hashlib
import html
from typing import Final

_STYLE: Final = """
:root { color-scheme: light dark; --page: #f4f6f8; --card: #fff; --ink: #16202b; --line: #d5dce3; --accent: #0b63b0; }
@media (prefers-color-scheme: dark) {
  :root { --page: #10161c; --card: #18212a; --ink: #e6edf3; --line: #2c3a47; --accent: #6db3f2; }
}
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
form { width: min(22rem, calc(100vw - 4rem)); padding: 2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; }
h1 { margin: 0 0 1rem; font-size: 1.25rem; }
label { display: block; margin-bottom: .35rem; }
input, button { box-sizing: border-box; width: 100%; padding: .65rem .75rem; border-radius: 8px; font: inherit; }
input { border: 1px solid var(--line); background: var(--page); color: var(--ink); }
button { margin-top: 1rem; border: 0; background: #0b63b0; color: #fff; font-weight: 600; cursor: pointer; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
p { margin: .75rem 0 0; color: #c0392b; }
@media (prefers-color-scheme: dark) { p { color: #ff9c8f; } }
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
LOGIN_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def login_page(message: str) -> str:
    """The form as HTML; a message tells why it is shown again."""
    why = f'<p role="alert">{html.escape(message)}</p>' if message else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Gateway: sign in</title><style>{_STYLE}</style></head><body>"
        '<form method="post" action="/login"><h1>Edge gateway</h1><label for="token">Access token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>'
        f"<button>Sign in</button>{why}</form></body></html>"
    )
