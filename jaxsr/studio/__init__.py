"""The studio serves a page and a JSON API, on which one resident model enlarges photographs for a browser.

It makes pictures with `jaxsr.batch`, as the sample command does, so that both write the same bytes. The modules besides
`server` and `security` know no HTTP. `server` needs the extra `studio` (Starlette).
"""
