package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"quarry/api"
	"quarry/api/client"
	"quarry/build"
	"quarry/internal/command"
	"quarry/internal/holder"
	"quarry/internal/paramcache"
	"quarry/internal/printable"
	"quarry/node/repo"
	"quarry/node/serve"
	"quarry/proofs/snark"
	"quarry/storage/access"
	"quarry/storage/blobs"
	"quarry/storage/fetch"
	"quarry/storage/parents"
	"quarry/storage/paths"
	"quarry/storage/worker"
	"quarry/storage/worker/home"
)

// toggles are the switches for what a worker does; C1 and FIN follow --commit.
var toggles = []struct {
	flag  string
	types []api.TaskType
	usage string
}{
	{"addpiece", []api.TaskType{api.TaskAddPiece}, "take data into sectors (AP)"},
	{"precommit1", []api.TaskType{api.TaskPreCommit1}, "compute labels (PC1)"},
	{"precommit2", []api.TaskType{api.TaskPreCommit2}, "compute trees and replicas (PC2)"},
	{"replica-update", []api.TaskType{api.TaskUpdate, api.TaskProveUpdate1}, "put data into empty sealed sectors (RU, PR1)"},
	{"commit", []api.TaskType{api.TaskCommit1, api.TaskFinalize, api.TaskFinalizeUpdate}, "prove and finalize sectors (C1, FIN, FRU)"},
	{"commit2", []api.TaskType{api.TaskCommit2, api.TaskProveUpdate2},
		"make Groth16 proofs (C2, PR2); needs parameters: miner-worker params"},
	{"unseal", []api.TaskType{api.TaskUnseal}, "unseal sectors (UNS)"},
}

func runCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "listen", EnvVars: []string{"WORKER_LISTEN"}, Value: "0.0.0.0:3456",
			Usage: "host:port that serves this worker's sector files"},
		&cli.StringFlag{Name: "url", EnvVars: []string{"WORKER_URL"},
			Usage: "http(s)://host:port that others reach --listen at; found out when empty"},
		&cli.StringFlag{Name: "name", EnvVars: []string{"WORKER_NAME"}, Usage: "name in lists; default: the host's"},
		&command.SizeFlag{StringFlag: cli.StringFlag{Name: "memory", EnvVars: []string{"WORKER_MEMORY"},
			Usage: "memory for tasks, for example 120GiB; default: what the machine has"}, Least: 1},
		&cli.StringFlag{Name: flagParents, EnvVars: []string{"WORKER_PARENT_CACHE"},
			Usage: "directory for parent cache files (60 GB for 32 GiB sectors, made once); empty: parents are computed for every sector"},
		&cli.IntFlag{Name: "cpus", EnvVars: []string{"WORKER_CPUS"}, Usage: "cores for tasks; default: all"},
		&cli.StringFlag{Name: "log-level", EnvVars: []string{"WORKER_LOG_LEVEL"}, Value: "info", Usage: "debug, info, warn or error"},
	}
	for _, t := range toggles {
		flags = append(flags, &cli.BoolFlag{Name: t.flag, Value: true, EnvVars: []string{"WORKER_" + strings.ToUpper(t.flag)},
			Usage: t.usage})
	}
	return &cli.Command{Name: "run", Usage: "work until stopped", Flags: flags, Action: run}
}

func taskTypes(c *cli.Context) ([]api.TaskType, error) {
	var out []api.TaskType
	for _, t := range toggles {
		if c.Bool(t.flag) {
			out = append(out, t.types...)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("every task is switched off; leave at least one of --addpiece --precommit1 --precommit2 " +
			"--replica-update --commit --commit2 --unseal on")
	}
	return out, nil
}

// takeover is how long another process may have this worker's identity: longer
// than a private node believes in the former process of a worker that was killed.
const takeover = 45 * time.Second

func workerConfig(c *cli.Context) (worker.Config, error) {
	types, err := taskTypes(c)
	if err != nil {
		return worker.Config{}, err
	}
	cfg := worker.Config{
		Hostname:  c.String("name"),
		TaskTypes: types,
		CPUs:      c.Int("cpus"),
		MemBytes:  worker.SystemMemory(),
		Takeover:  takeover,
	}
	if cfg.CPUs < 0 {
		return cfg, fmt.Errorf("--cpus %d is negative; leave it out for all cores", cfg.CPUs)
	}
	n, err := command.Bytes(c, "memory")
	if n > 0 {
		cfg.MemBytes = n
	}
	return cfg, err
}

func newLog(c *cli.Context) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, fmt.Errorf("--log-level: %w (want debug, info, warn or error)", err)
	}
	return slog.New(slog.NewTextHandler(printable.NewWriter(os.Stderr), &slog.HandlerOptions{Level: level})), nil
}

func run(c *cli.Context) (err error) {
	cfg, err := workerConfig(c)
	if err != nil {
		return err
	}
	log, err := newLog(c)
	if err != nil {
		return err
	}
	info, err := minerInfo(c)
	if err != nil {
		return err
	}
	r, err := openRepo(c.String(flagRepo))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	miner, gate, err := dialHome(c.Context, info, r, log)
	if err != nil {
		return err
	}
	defer miner.Close()
	ctx, stop := context.WithCancel(c.Context)
	defer stop()
	cfg.Place = holder.Place(r.Dir())
	p := &process{
		log:     log,
		miner:   miner,
		gate:    gate,
		repo:    r,
		cfg:     cfg,
		parents: c.String(flagParents),
		stop:    stop,
	}
	return p.run(ctx, c.String("listen"), c.String("url"))
}

// dialHome makes the client of the private node, behind a gate that lets no call
// through to one of another miner.
func dialHome(ctx context.Context, info string, r *repo.Repo, log *slog.Logger) (miner *client.MinerAPI, gate *home.Gate, err error) {
	gate, err = home.Open(ctx, home.Deps{
		Store: r.Datastore(repo.Worker),
		Handshake: func(ctx context.Context, me api.Introduction) (api.Handshake, error) {
			me.Repo = r.ID()
			return miner.Handshake(ctx, me)
		},
		Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	miner, err = client.Miner(ctx, client.Config{Info: info, Name: "the private node", Gate: gate, Log: log})
	return miner, gate, err
}

// openRepo opens the worker's repo, making it at the first run.
func openRepo(dir string) (*repo.Repo, error) {
	dir, err := repo.Expand(dir)
	if err != nil {
		return nil, err
	}
	if !repo.Exists(dir) {
		if err := repo.Init(dir, repo.KindWorker); err != nil {
			return nil, err
		}
	}
	r, err := repo.Open(dir)
	if err != nil {
		return nil, err
	}
	if r.Kind() != repo.KindWorker {
		return nil, errors.Join(fmt.Errorf("%s is the repo of a %s; give the worker one of its own with --%s", dir, r.Kind(),
			flagRepo), r.Close())
	}
	return r, nil
}

// process is a running worker with its server.
type process struct {
	log   *slog.Logger
	miner *client.MinerAPI
	gate  *home.Gate // before every call to miner
	repo  *repo.Repo
	cfg   worker.Config
	// parents is the directory of parent cache files, empty for none.
	parents string
	stop    context.CancelFunc
}

func (p *process) run(ctx context.Context, listen, url string) (err error) {
	if err := waitMiner(ctx, p.miner, p.gate, p.log); err != nil {
		return err
	}
	srv, err := serve.New(serve.Config{Listen: listen}, serve.Deps{Verify: p.repo.Tokens().Verify, Log: p.log})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, srv.Close())
		}
	}()
	local, err := p.openPaths(ctx, srv.Addr(), url)
	if err != nil {
		return err
	}
	w, closeParts, err := p.worker(ctx, local)
	if err != nil {
		return err
	}
	defer closeParts()
	self := &self{
		worker:  w,
		local:   local,
		stop:    p.stop,
		tokens:  p.repo.Tokens(),
		repo:    p.repo.ID(),
		started: time.Now(),
	}
	srv.RegisterCommon(self)
	srv.RegisterStorage(&ownStorage{self: self})
	if err := p.serveFiles(srv, local); err != nil {
		return err
	}
	if err := p.repo.WriteAPI(srv.Multiaddr()); err != nil {
		return err
	}
	p.log.Info("worker runs", "version", build.UserVersion(), "id", w.Info().ID, "url", p.cfg.URL,
		"tasks", p.cfg.TaskTypes, "private node", p.miner.Info().String())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return srv.Run(ctx) })
	g.Go(func() error { return local.Run(ctx) })
	g.Go(func() error { return w.Run(ctx) })
	return g.Wait()
}

// openPaths finds out the URL of this worker and opens its storage paths.
func (p *process) openPaths(ctx context.Context, bound, url string) (*paths.Local, error) {
	if url == "" {
		var err error
		if url, err = ownURL(ctx, bound, p.miner.Info().Base()); err != nil {
			return nil, err
		}
	}
	p.cfg.URL = strings.TrimRight(url, "/") + "/remote"
	cfg := paths.Config{File: p.repo.Path(repo.FileStorage), URL: p.cfg.URL}
	local, err := paths.Open(cfg, paths.Deps{Index: p.miner, Log: p.log.With("part", "paths")})
	if err == nil && len(local.Paths()) == 0 {
		p.log.Warn("this worker has no storage path and gets no tasks; add one with: miner-worker storage attach --init --seal DIRECTORY")
	}
	return local, err
}

// serveFiles serves the sector files of this worker to bearers of the private node
// that are good for one of them. No token of that node opens anything here.
func (p *process) serveFiles(srv *serve.Server, local *paths.Local) error {
	check, err := access.NewChecker(p.cfg.URL, access.NewRemoteKeys(p.miner))
	if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	opens := serve.Opens{Is: access.Is, Check: check.Check}
	srv.HandleBearer("GET /remote/", api.PermAdmin, opens, fetch.Handler(local))
	srv.HandleBearer("DELETE /remote/", api.PermAdmin, opens, fetch.RemoveHandler(local))
	return nil
}

// worker makes the worker with what it computes with; the function returned
// closes that.
func (p *process) worker(ctx context.Context, local *paths.Local) (w *worker.Worker, closeParts func(), err error) {
	// Parameters generated for a devnet are taken too: the private node checks
	// every proof with its own key before it is sent.
	params, err := paramcache.New(paramcache.Config{Devnet: true}, paramcache.Deps{Log: p.log.With("part", "parameters")})
	if err != nil {
		return nil, nil, err
	}
	graphs := parents.New(parents.Config{Dir: p.parents}, parents.Deps{Log: p.log.With("part", "parents")})
	own, err1 := blobs.Open(blobs.Config{Dir: p.repo.Path(repo.DirBlobs)})
	node, err2 := blobs.NewClient(blobs.ClientDeps{Base: p.miner.Info().Base(), Token: p.miner.Info().Token.Reveal})
	closeParts = func() {
		if node != nil {
			node.Close()
		}
		_ = graphs.Close() // read only
		params.Close()
	}
	if err := errors.Join(err1, err2); err != nil {
		closeParts()
		return nil, nil, err
	}
	w, err = worker.New(ctx, p.cfg, worker.Deps{
		Storage:   p.miner,
		Local:     local,
		Store:     p.repo.Datastore(repo.Worker),
		Blobs:     own,
		NodeBlobs: node,
		Snark:     snark.Prover{Keys: params},
		Parents:   graphs,
		Log:       p.log.With("part", "worker"),
	})
	if err != nil {
		closeParts()
	}
	return w, closeParts, err
}

// waitMiner waits until the private node answers, speaks our version, and is that
// of the miner that this worker belongs to.
func waitMiner(ctx context.Context, m *client.MinerAPI, gate *home.Gate, log *slog.Logger) error {
	for {
		v, err := m.Version(ctx)
		if err == nil && v.APIVersion>>8 != build.MinerAPIVersion>>8 {
			return fmt.Errorf("the private node speaks API %#x, this worker %#x; run the same release on both", v.APIVersion,
				build.MinerAPIVersion)
		}
		if err == nil {
			err = gate.Meet(ctx)
		}
		var wrong *home.WrongNodeError
		if err == nil || errors.As(err, &wrong) {
			return err
		}
		var perm *api.ErrPermission
		if errors.As(err, &perm) {
			return fmt.Errorf("the private node refuses our token: %w (make one there with the role worker)", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		log.Warn("the private node does not answer; trying again", "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
}
