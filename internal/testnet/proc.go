package testnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"quarry/internal/secret"
)

// Proc is one long-running process; it can be killed and started again with
// the same arguments, which is all that recovery may rely on. Its methods may be
// called from several goroutines, but only one may kill and start.
type Proc struct {
	// Name is that of the process and of its log.
	Name string
	path string
	args []string
	env  []string
	log  string

	mu      sync.Mutex
	cmd     *exec.Cmd
	exited  chan struct{}
	exitErr error
	kills   []time.Time
	away    bool // killed or ended on purpose, until the next start
}

// Supervisor owns the processes; they stop in reverse order of start.
type Supervisor struct {
	logs string
	mu   sync.Mutex
	all  []*Proc
}

// NewSupervisor keeps the logs of its processes in one directory, which exists.
func NewSupervisor(logs string) *Supervisor { return &Supervisor{logs: logs} }

// Start starts a process under a name of its own.
func (s *Supervisor) Start(name, path string, args, env []string) (*Proc, error) {
	if err := noSecret(args); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Proc{
		Name: name,
		path: path,
		args: args,
		env:  env,
		log:  filepath.Join(s.logs, name+".log"),
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.all = append(s.all, p)
	s.mu.Unlock()
	return p, nil
}

// Start starts the process, for the first time or again after it ended.
func (p *Proc) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.Name, err)
	}
	defer out.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited, p.away = cmd, exited, false
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.exitErr = err
		p.mu.Unlock()
		close(exited)
	}()
	return nil
}

// Kill9 ends the process without warning and starts it again.
func (p *Proc) Kill9() error {
	if err := p.Kill(); err != nil {
		return err
	}
	return p.Start()
}

// Kill ends the process without warning and leaves it dead until Start.
func (p *Proc) Kill() error {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.kills = append(p.kills, time.Now())
	p.away = true
	p.mu.Unlock()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.Name, err)
	}
	<-exited
	return nil
}

// Pause stops the process where it is: it answers nothing and its connections
// stay open, as with a host that hangs. Resume lets it go on.
func (p *Proc) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Proc) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Proc) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("send %s to %s: %w", s, p.Name, err)
	}
	return nil
}

// Kills are the moments at which the process was killed, oldest first.
func (p *Proc) Kills() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.kills)
}

// Killed is how often the process was killed.
func (p *Proc) Killed() int { return len(p.Kills()) }

// Log is the file with all that the process has printed in all its lives.
func (p *Proc) Log() string { return p.log }

// PID is the process ID of the present life.
func (p *Proc) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Dead returns why the process is not running, or nil; one that was killed on
// purpose is not dead.
func (p *Proc) Dead() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		return nil
	}
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended by itself (%v); see %s", p.Name, p.exitErr, p.log)
	default:
		return nil
	}
}

// Exited waits until the process has ended or ctx ends, and returns the error of
// its end, nil for a status of 0.
func (p *Proc) Exited(ctx context.Context) (ended bool, err error) {
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	select {
	case <-exited:
	case <-ctx.Done():
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = true
	return true, p.exitErr
}

// Stop asks politely and, after the budget, not. It is the process's last end:
// Dead does not speak of it.
func (p *Proc) Stop(budget time.Duration) error {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.away = true
	p.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGCONT) // a paused one would not hear it
	_ = cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(budget)
	defer timer.Stop()
	select {
	case <-exited:
		return nil
	case <-timer.C:
		_ = cmd.Process.Kill()
		<-exited
		return fmt.Errorf("%s did not stop within %s", p.Name, budget)
	}
}

// Dead is the first process that ended by itself, or nil.
func (s *Supervisor) Dead() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.all {
		if err := p.Dead(); err != nil {
			return err
		}
	}
	return nil
}

// StopAll stops every process, each within the budget.
func (s *Supervisor) StopAll(budget time.Duration) error {
	s.mu.Lock()
	all := s.all
	s.all = nil
	s.mu.Unlock()
	var errs []error
	for _, p := range slices.Backward(all) {
		if p.Dead() == nil {
			errs = append(errs, p.Stop(budget))
		}
	}
	return errors.Join(errs...)
}

// Command runs a short-lived command and returns its standard output.
func Command(ctx context.Context, logs, path string, env []string, args ...string) ([]byte, error) {
	if err := noSecret(args); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	errLog, err := os.OpenFile(filepath.Join(logs, "commands.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer errLog.Close()
	fmt.Fprintf(errLog, "$ %s %v\n", filepath.Base(path), args)
	tail := &tailWriter{}
	cmd.Stderr = tail
	out, err := cmd.Output()
	_, _ = errLog.Write(tail.b)
	_, _ = errLog.Write(out)
	if err != nil {
		return out, fmt.Errorf("%s %v: %w\n%s", filepath.Base(path), args, err, tail.b)
	}
	return out, nil
}

// errSecret is a bug of whoever starts a process: everybody on the host sees its
// arguments.
var errSecret = errors.New("there is a token in its arguments; it belongs into the environment or a file")

func noSecret(args []string) error {
	for _, a := range args {
		if secret.In([]byte(a)) {
			return errSecret
		}
	}
	return nil
}

// tailWriter keeps the last 4 KiB, enough for an error message.
type tailWriter struct{ b []byte }

func (t *tailWriter) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - 4096; over > 0 {
		t.b = append([]byte(nil), t.b[over:]...)
	}
	return len(p), nil
}

// FreePorts reserves n distinct loopback ports by listening on all of them
// before closing any.
func FreePorts(n int) ([]int, error) {
	var ports []int
	var ls []net.Listener
	defer func() {
		for _, l := range ls {
			l.Close()
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		ls = append(ls, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
