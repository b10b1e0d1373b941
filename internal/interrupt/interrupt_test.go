package interrupt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestMain is also the command under test: this binary, told by its environment.
func TestMain(m *testing.M) {
	switch os.Getenv("INTERRUPT_TEST") {
	case "polite":
		os.Exit(Main(func(ctx context.Context) error {
			fmt.Println("ready")
			<-ctx.Done()
			return nil
		}))
	case "stubborn":
		os.Exit(Main(func(ctx context.Context) error {
			fmt.Println("ready")
			<-ctx.Done()
			fmt.Println("stopping")
			select {}
		}))
	case "failing":
		os.Exit(Main(func(context.Context) error { return errors.New("no luck") }))
	}
	os.Exit(m.Run())
}

func spawn(t *testing.T, how string) (*exec.Cmd, *bufio.Scanner, *strings.Builder) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "INTERRUPT_TEST="+how)
	stderr := new(strings.Builder)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out), stderr
}

func TestFirstSignalStopsInOrder(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd, out, _ := spawn(t, "polite")
		out.Scan()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", sig, err)
		}
	}
}

// The second signal must not be swallowed. It is sent until the process is
// gone, because default handling returns a moment after the context ended.
func TestSecondSignalEnds(t *testing.T) {
	cmd, out, _ := spawn(t, "stubborn")
	out.Scan()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if out.Scan(); out.Text() != "stopping" {
		t.Fatalf("said %q", out.Text())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
				t.Fatalf("ended with %v", err)
			}
			return
		default:
			_ = cmd.Process.Signal(syscall.SIGTERM) // fails once it is gone
		}
	}
}

func TestFailure(t *testing.T) {
	cmd, _, stderr := spawn(t, "failing")
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 || stderr.String() != "error: no luck\n" {
		t.Fatalf("%v, stderr %q", err, stderr)
	}
}
