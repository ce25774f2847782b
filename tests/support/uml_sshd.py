# SPDX-License-Identifier: Apache-2.0
"""An SSH server in a guest of User-Mode Linux: the host's own sshd, whose files that guest can
see, on port 22 of the guest's vsock, of its network card, or of both: by_agent is that of
`netfwd-agent --vsock-ssh`."""
import harness
from sshd import make_key

PORT = 22
CIPHER = "aes128-gcm@openssh.com"


class UmlSshd:
    def __init__(self, guest, key, by_vsock=True, by_agent=False):
        self.guest, self.key, self.host_key = guest, key, make_key()
        self.config = harness.new_path("sshd_config")
        self.config.write_text("\n".join([
            f"HostKey {self.host_key}", f"AuthorizedKeysFile {self.key}.pub", "StrictModes no",
            "UsePAM no", "PidFile none", "PermitRootLogin yes", f"Ciphers {CIPHER}",
            "LogLevel VERBOSE", ""]))
        sshd = f"chroot /host /usr/sbin/sshd -E {self.log_path()} -f {self.config}"
        # socat's nofork: sshd has the socket itself, as a service manager would give it
        serve = (f'socat VSOCK-LISTEN:{PORT},reuseaddr,fork EXEC:"{sshd} -i",nofork '
                 "</dev/null >/dev/null 2>&1 &" if by_vsock else f"{sshd} -p {PORT}")
        if by_agent:
            serve += ("; killall agent netfwd-agent; netfwd-agent --vsock --vsock-ssh "
                      "</dev/null >/dev/null 2>&1 &")
        self.guest.output(f"""
            mkdir -p /host && mount -t hostfs none /host &&
            mount -t proc proc /host/proc && mount -t devtmpfs devtmpfs /host/dev &&
            mkdir -p /host/run/sshd && ip link set lo up
            {serve}""")

    def log_path(self):
        return f"{self.config}.log"

    def log(self):
        return self.guest.run(f"cat /host{self.log_path()}")[1]
