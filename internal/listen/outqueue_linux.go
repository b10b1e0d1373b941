package listen

import (
	"net"

	"golang.org/x/sys/unix"
)

// outQueue is how many bytes the kernel holds that the peer has not taken: a
// slow reader may take many of them before there is room for the next write.
func outQueue(c net.Conn) (n int) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // closed: nothing is queued
		if v, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			n = v
		}
	})
	return n
}
