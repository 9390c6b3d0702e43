"""What a log says about a fault: the line that names it, and that line without what changes from time to time.

Nothing here knows a product. A line counts as error-like by the forms that runtimes and loggers share: how Python,
Java, Go, Node and Rust end a traceback, the level names, and the operating system's own sentences.
All is linear in the text and bounded: a log is written by whoever can reach the service.
"""

import re

MAX_LINE = 300
"""Characters of a returned line or template."""

_READ_LIMIT = 64 * 1024
"""Characters of the log that are looked at, from its end."""

_LINE_LIMIT = 2000
"""Characters of one line that are looked at."""

_TEMPLATE_READ_LIMIT = 1000
"""Characters of a line that a template is made of; some of the patterns are quadratic in them."""

_CAUSE_REACH = 25
"""A bare level line (`ERROR: startup failed`) gives way to an exception at most this many lines above it."""

_EXCEPTION = re.compile(
    r"""^(?:
        (?:[A-Za-z_$][\w$]*\.)*[A-Z_]\w*(?:Error|Exception|Exit|Interrupt|Failure|Fault|Iteration|NotFound|Denied|Timeout)
            (?::\s|\s*$|\s\[)                                  # Python, Node and bare Java exceptions
        | (?:Caused\sby|Exception\sin\sthread|Uncaught|Unhandled)\b
        | (?:panic|fatal\serror|fatal|Error|error):\s            # Go, git-like tools, Node, Rust's main
        | thread\s'[^']{0,100}'\s(?:\(\d+\)\s)?panicked\sat\b    # Rust
    )""",
    re.VERBOSE,
)
_SAYS_WHY = re.compile(
    r"""address\salready\sin\suse|EADDRINUSE|no\sspace\sleft|disk\squota|permission\sdenied|EACCES|no\ssuch\sfile|ENOENT
    |out\sof\smemory|cannot\sallocate|segmentation\sfault|core\sdumped|connection\srefused|ECONNREFUSED|timed\sout
    |ETIMEDOUT|too\smany\sopen\sfiles|read-only\sfile\ssystem|deadlock|corrupt|stack\soverflow|syntax\serror
    |\b(?:cannot|can't|could\snot|couldn't|unable\sto|failed\sto)\s\w""",
    re.VERBOSE | re.IGNORECASE,
)
_LEVEL = re.compile(
    r"""\b(?:ERROR|FATAL|CRITICAL|SEVERE|EMERG|ALERT|PANIC)\b
    |(?i:\blevel"?\s?[=:]\s?"?(?:error|fatal|critical|panic)\b)
    |(?i:[\[<(](?:error|fatal|critical|crit|panic|emerg|alert)[\])>])
    |^[EF]\d{4}\s""",
    re.VERBOSE,
)
_CONSEQUENCE = re.compile(r"BrokenPipe|broken pipe|EPIPE|ClientDisconnect|client disconnected", re.IGNORECASE)
"""A client that left, often our own probe: it follows from a slow service and explains nothing."""

_TRACEBACK_START = "Traceback (most recent call last):"


def error_line(log: str, *, exited: bool = False, reach: int | None = None) -> str:
    """The last error-like line of `log`, or `""`.

    `log` is what the service wrote since it was last started. Without an error-like line the last non-empty line
    is given if the process has `exited`: the last thing that it said. `reach`: look only at that many last lines.
    """
    lines = [line[:_LINE_LIMIT].rstrip() for line in log[-_READ_LIMIT:].splitlines()]
    lines = [line for line in lines if line.strip()]
    if reach is not None:
        lines = lines[-reach:]
    found = _last_cause(lines)
    if found is not None:
        return _with_message(lines, found)
    return lines[-1].strip()[:MAX_LINE] if lines and exited else ""


def is_error_like(line: str) -> bool:
    """Whether the line has the form of an error, rather than being merely the last thing said."""
    return _names_cause(line) or _LEVEL.search(line[:_LINE_LIMIT]) is not None


def _names_cause(line: str) -> bool:
    text = line[:_LINE_LIMIT].strip()
    return _EXCEPTION.match(text) is not None or _SAYS_WHY.search(text) is not None


def _last_cause(lines: list[str]) -> int | None:
    """Index of the line that names the cause: the last exception, else the last line of an error level."""
    last_level: int | None = None
    for index in range(len(lines) - 1, -1, -1):
        if last_level is not None and last_level - index > _CAUSE_REACH:
            break
        line = lines[index]
        if line.startswith((" ", "\t")) and not _is_continued_cause(line):
            continue
        if _CONSEQUENCE.search(line):
            continue
        if _names_cause(line) or _ends_traceback(lines, index):
            return index
        if last_level is None and _LEVEL.search(line) and _TRACEBACK_START not in line:
            last_level = index
    return last_level


def _is_continued_cause(line: str) -> bool:
    """Indented lines are frames of a traceback, except the kernel's own sentences (`  bind: address already in use`)."""
    text = line.strip()
    return _SAYS_WHY.search(text) is not None and not text.startswith(("at ", "File ", "raise ", "return "))


def _ends_traceback(lines: list[str], index: int) -> bool:
    """Whether this is the unindented line after Python's frames: the exception, whatever its class is called."""
    return (
        index > 0
        and lines[index - 1].startswith("  ")
        and any(_TRACEBACK_START in line for line in lines[max(0, index - 60) : index])
        and re.match(r"^[A-Za-z_][\w.]*(?::|$)", lines[index]) is not None
    )


def _with_message(lines: list[str], index: int) -> str:
    """The line, with the next one where the runtime writes the message there (Rust ends the first with `:`)."""
    line = lines[index].strip()
    if line.endswith(":") and index + 1 < len(lines):
        line = f"{line} {lines[index + 1].strip()}"
    return line[:MAX_LINE]


_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_EXTENSIONS = (
    "json|ya?ml|toml|ini|cfg|conf|xml|csv|db|sqlite3?|log|txt|sock|pid|lock|py|js|ts|go|rs|java|jar|so|env|pem"
)

_STEPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s'\"<>)\]]+"), "<url>"),
    (re.compile(r"(?<![A-Za-z0-9>])'[^']*'(?![A-Za-z0-9<])|\"[^\"]*\"|`[^`]*`"), "<value>"),
    (re.compile(r"(?<![\w>])[\w.~@%+-]*/[^\s:'\"`,;()<>\[\]{}=]*"), "<path>"),
    (re.compile(rf"(?<![\w.>])[\w-]+\.(?:{_EXTENSIONS})(?![.\w])"), "<path>"),
    (re.compile(rf"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\s+)?(?:{_MONTHS})[a-z]*\.?(?=\s+[0-9])"), "<n>"),
    (re.compile(rf"\b[0-9]{{1,2}}[ /-](?:{_MONTHS})[ /-][0-9]{{2,4}}\b"), "<n>"),
    (re.compile(r"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b"), "<n>"),
    # a word of letters and then digits keeps its letters (`worker-3`, `errno98`); any other mixture is an identifier,
    # a hexadecimal number, a duration or a size
    (re.compile(r"(?<![A-Za-z0-9])([A-Za-z]+)[0-9]+(?![A-Za-z0-9])"), r"\1<n>"),
    (re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])[A-Za-z0-9]+"), "<n>"),
    (re.compile(r"(?<![\w>)\]])[-+]<n>"), "<n>"),
    (re.compile(r"<n>(?:[ .:,;+_-]{0,2}<n>)+"), "<n>"),
    (re.compile(r"<path>(?:[:.]<n>)+"), "<path>"),
    (re.compile(r"\s+"), " "),
)


def template(line: str) -> str:
    """`line` with numbers, identifiers, addresses, paths, quoted values and times replaced by placeholders.

    Two lines that differ only in such values have one template. Idempotent; at most 300 characters.
    """
    text = line[:_TEMPLATE_READ_LIMIT].strip()
    for _ in range(8):
        # a replacement can bring two others together, so until nothing changes; each pass leaves fewer values
        before = text
        for pattern, placeholder in _STEPS:
            text = pattern.sub(placeholder, text)
        text = text.strip()[:MAX_LINE].strip()
        if text == before:
            break
    return text
