package interrupt

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Main runs a command under a context that ends with the first signal, prints
// its error and returns the exit code: 0, or 1 after an error.
func Main(run func(ctx context.Context) error) int {
	ctx, stop := Context(context.Background())
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

// Context ends with the first interrupt or SIGTERM. After that signals have
// their default effect again: another one ends the process. stop releases it.
func Context(parent context.Context) (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
