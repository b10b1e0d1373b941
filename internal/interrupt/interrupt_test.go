package interrupt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
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
	case "logging":
		OutliveReaders()
		os.Exit(Main(func(ctx context.Context) error {
			for {
				if _, err := fmt.Println("a line"); err != nil {
					break
				}
			}
			fmt.Fprintln(os.Stderr, "nobody reads")
			<-ctx.Done()
			return nil
		}))
	case "failing":
		os.Exit(Main(func(context.Context) error { return errors.New("no luck") }))
	}
	os.Exit(m.Run())
}

// spawn starts the command under test, behind others if they are given.
func spawn(t *testing.T, how string, behind ...string) (*exec.Cmd, *bufio.Scanner, *strings.Builder) {
	t.Helper()
	args := append(behind, os.Args[0])
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
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
	// Under nohup a hangup is ignored, and children would inherit that; what is
	// caught here is not ignored there.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
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

// What the process was started to ignore, as nohup does, stays ignored: here the
// SIGTERM is the first signal it heeds.
func TestIgnoredSignalStaysIgnored(t *testing.T) {
	cmd, out, _ := spawn(t, "stubborn", "sh", "-c", "trap '' HUP; exec \"$0\"")
	out.Scan()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	if out.Scan(); out.Text() != "stopping" {
		t.Fatalf("said %q", out.Text())
	}
	_ = cmd.Process.Kill() // fails when it is gone, which is told below
	_ = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("ended by %s", status.Signal())
	}
}

// A process that owes work goes on when what reads its log is gone.
func TestOutlivesItsReader(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "INTERRUPT_TEST=logging")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stderr).ReadString('\n'); err != nil || line != "nobody reads\n" {
		t.Fatalf("said %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestFailure(t *testing.T) {
	cmd, _, stderr := spawn(t, "failing")
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 || stderr.String() != "error: no luck\n" {
		t.Fatalf("%v, stderr %q", err, stderr)
	}
}
