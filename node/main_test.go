package node

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also a process under test: this binary, told by its environment.
//
// The RPC library leaves one goroutine behind when a websocket closes while a
// message is coming in (go-jsonrpc v0.10.2 websocket.go, nextMessage sends on a
// channel nobody reads any more); nothing of ours can end it.
func TestMain(m *testing.M) {
	if dir := os.Getenv("NODE_TEST_FULL_DISK"); dir != "" {
		os.Exit(fullDisk(dir, os.Getenv("NODE_TEST_FULL_NODE")))
	}
	if dir := os.Getenv("NODE_TEST_PRIVATE"); dir != "" {
		os.Exit(privateNode(dir, os.Getenv("NODE_TEST_FULL_NODE")))
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"), // started by an init, for ever
		goleak.IgnoreTopFunction("github.com/filecoin-project/go-jsonrpc.(*wsConn).nextMessage"))
}

// ignoreTooBig makes a write beyond RLIMIT_FSIZE an error, as on a full disk,
// and not a signal.
func ignoreTooBig() { signal.Ignore(syscall.SIGXFSZ) }
