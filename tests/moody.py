"""A Mosquitto that refuses or stands still when a test wants it."""

import signal

from tests.servers import Mosquitto


class Moody(Mosquitto):
    """A broker with rules of its own, which may also stand still."""

    rules = "allow_anonymous true"

    def command(self) -> list[str]:
        command = super().command()
        path = self.folder / "mosquitto.conf"
        path.write_text(path.read_text().replace("allow_anonymous true", self.rules))
        return command

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
