package interrupt

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"quarry/internal/printable"
)

// Main runs a command under a context that ends with the first signal, prints
// its error and returns the exit code: 0, or 1 after an error.
func Main(run func(ctx context.Context) error) int {
	ctx, stop := Context(context.Background())
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(printable.NewWriter(os.Stderr), "error:", err)
		return 1
	}
	return 0
}

// Context ends with the first interrupt, SIGTERM or SIGHUP. After that signals
// have their default effect again: another one ends the process. stop releases it.
// A signal that the process was started to ignore, as nohup does, stays ignored.
func Context(parent context.Context) (ctx context.Context, stop context.CancelFunc) {
	var heed []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			heed = append(heed, s)
		}
	}
	if len(heed) == 0 { // no list would mean every signal
		return context.WithCancel(parent)
	}
	ctx, stop = signal.NotifyContext(parent, heed...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// OutliveReaders keeps a process that owes work alive when what reads its output
// ends, a pipe into a log for example: writing fails then, and nothing else.
func OutliveReaders() { signal.Ignore(syscall.SIGPIPE) }
