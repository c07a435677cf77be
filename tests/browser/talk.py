"""What the tests' model answers, and what a screenshot shows."""

from __future__ import annotations

PLAN = """\
Three things stand out:

1. **The heating** runs at night. `schedule.toml` still has last winter's times.
2. The living room is at *19 °C*, which is what you asked for.
3. There is rain from 16:00 on; see [the forecast](https://example.org/forecast).

This sets the night to 17 °C:

```python
for room in house.rooms:
    room.set_target(17, begins="22:30", ends="06:00")
```

Shall I save it?"""

SAVED = """\
Done. What changed:

| Room | Before | Now |
| --- | --- | --- |
| Living room | 20 °C | 17 °C |
| Bedroom | 18 °C | 17 °C |

> It begins tonight at 22:30."""

HOSTILE = """\
<script>document.title = "taken"</script> <img src=x onerror="document.title='taken'">
[click](javascript:document.title='taken') [data](data:text/html,<script>1</script>)
```html"><b>
<script>document.title = "taken"</script>
```
<svg onload="document.title='taken'">"""

ANSWERS = {
    "What should I look at in the house today?": PLAN,
    "Yes, please. And tell me what changed.": SAVED,
    "attack": HOSTILE,
    "long": "\n\n".join(f"Paragraph {number} of a long answer." for number in range(60)),
}
