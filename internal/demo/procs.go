package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// proc is one long-running process; it can be killed and started again with
// the same arguments, which is all that recovery may rely on.
type proc struct {
	name string
	path string
	args []string
	env  []string
	log  string

	mu      sync.Mutex
	cmd     *exec.Cmd
	exited  chan struct{}
	exitErr error
	kills   int
	dying   bool // between a kill and the next start
}

// supervisor owns the processes; they stop in reverse order of start.
type supervisor struct {
	logs string
	mu   sync.Mutex
	all  []*proc
}

func (s *supervisor) start(name, path string, args, env []string) (*proc, error) {
	p := &proc{name: name, path: path, args: args, env: env, log: filepath.Join(s.logs, name+".log")}
	if err := p.start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.all = append(s.all, p)
	s.mu.Unlock()
	return p, nil
}

func (p *proc) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.name, err)
	}
	defer out.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.exitErr = err
		p.mu.Unlock()
		close(exited)
	}()
	return nil
}

// kill9 ends the process without warning and starts it again.
func (p *proc) kill9() error {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.kills++
	p.dying = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.dying = false
		p.mu.Unlock()
	}()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-exited
	return p.start()
}

func (p *proc) killed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kills
}

// dead returns why the process is not running, or nil.
func (p *proc) dead() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dying {
		return nil
	}
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended by itself (%v); see %s", p.name, p.exitErr, p.log)
	default:
		return nil
	}
}

// stop asks politely and then not.
func (p *proc) stop(budget time.Duration) error {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(budget)
	defer timer.Stop()
	select {
	case <-exited:
		return nil
	case <-timer.C:
		_ = cmd.Process.Kill()
		<-exited
		return fmt.Errorf("%s did not stop within %s", p.name, budget)
	}
}

func (s *supervisor) stopAll(budget time.Duration) error {
	s.mu.Lock()
	all := s.all
	s.all = nil
	s.mu.Unlock()
	var errs []error
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].dead() == nil {
			errs = append(errs, all[i].stop(budget))
		}
	}
	return errors.Join(errs...)
}

// command runs a short-lived command and returns its standard output.
func command(ctx context.Context, logs, path string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	errLog, err := os.OpenFile(filepath.Join(logs, "commands.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
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

// tailWriter keeps the last 4 KiB, enough for an error message.
type tailWriter struct{ b []byte }

func (t *tailWriter) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - 4096; over > 0 {
		t.b = append([]byte(nil), t.b[over:]...)
	}
	return len(p), nil
}

// freePorts reserves n distinct loopback ports by listening on all of them
// before closing any.
func freePorts(n int) ([]int, error) {
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
