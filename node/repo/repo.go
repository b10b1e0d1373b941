package repo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"quarry/internal/apiinfo"
	"quarry/internal/durable"
	"quarry/internal/holder"
	"quarry/internal/secret"

	"github.com/google/uuid"
	fslock "github.com/ipfs/go-fs-lock"
)

// Files and directories of a repo.
const (
	FileConfig    = "config.toml"
	FileStorage   = "storage.json"
	DirBlobs      = "blobs" // bulk results of tasks
	FileAPI       = "api"
	FileToken     = "token"
	fileKind      = "repo.json"
	fileLock      = "repo.lock"
	filePID       = "repo.pid"
	dirKeystore   = "keystore"
	dirDatastore  = "datastore"
	layoutVersion = 1
)

// Kind is the sort of process a repo belongs to.
type Kind string

// Kinds of repo.
const (
	KindMiner   Kind = "miner" // private or monolith
	KindMarkets Kind = "markets"
	KindWorker  Kind = "worker"
	KindDevnet  Kind = "devnet"
	KindClient  Kind = "client"
)

// Kinds lists every kind.
var Kinds = []Kind{KindMiner, KindMarkets, KindWorker, KindDevnet, KindClient}

// ErrExists refuses to initialise a directory that is in use.
type ErrExists struct{ Dir string }

func (e *ErrExists) Error() string {
	return fmt.Sprintf("%s already holds a repo; choose another directory or remove it if nothing in it is needed", e.Dir)
}

// ErrNoRepo says that there is no repo to open.
type ErrNoRepo struct{ Dir string }

func (e *ErrNoRepo) Error() string {
	return fmt.Sprintf("%s holds no repo; run init first, or point the repo flag or environment at the right directory", e.Dir)
}

// ErrLocked says that another process has the repo open.
type ErrLocked struct {
	Dir    string
	Holder string // "process 123 on host", or what is known of it
}

func (e *ErrLocked) Error() string {
	return fmt.Sprintf("repo %s is in use by %s; stop it first", e.Dir, e.Holder)
}

// ErrKind says that a repo belongs to another sort of process.
type ErrKind struct {
	Dir        string
	Have, Want Kind
}

func (e *ErrKind) Error() string {
	return fmt.Sprintf("%s is the repo of a %s, not of a %s; name another directory", e.Dir, e.Have, e.Want)
}

// Repo is an open, locked repo.
type Repo struct {
	dir    string
	kind   Kind
	lock   io.Closer
	copies *holder.Lock // none where this machine has no place for it
	id     uuid.UUID
	store  *store
	keys   *Keystore
	tokens *Tokens
	close  func() error
}

type marker struct {
	Kind    Kind
	Version int
}

// Exists tells whether dir holds a repo.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, fileKind))
	return err == nil
}

// Init makes a repo of the given kind in dir, creating it. The marker is
// written last: what a crash leaves behind is not a repo and can be
// initialised again.
func Init(dir string, kind Kind) error {
	if !validKind(kind) {
		return fmt.Errorf("init %s: unknown kind of repo %q", dir, kind)
	}
	if Exists(dir) {
		return &ErrExists{Dir: dir}
	}
	// A directory with keys or state but no marker is a Lotus repo or a damaged
	// one; taking it over would mix the two.
	if dirHasEntries(filepath.Join(dir, dirDatastore, "metadata")) {
		return fmt.Errorf("init %s: it holds a Lotus datastore; choose another directory", dir)
	}
	for _, d := range []string{dir, filepath.Join(dir, dirKeystore), filepath.Join(dir, dirDatastore)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("init repo: %w", err)
		}
	}
	storage := filepath.Join(dir, FileStorage)
	if _, err := os.Stat(storage); errors.Is(err, fs.ErrNotExist) {
		if err := durable.WriteFile(storage, []byte("{\n  \"StoragePaths\": []\n}\n"), 0o644); err != nil {
			return fmt.Errorf("init repo: %w", err)
		}
	}
	m, err := json.MarshalIndent(marker{kind, layoutVersion}, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, fileKind), append(m, '\n'), 0o644)
}

func validKind(k Kind) bool {
	for _, x := range Kinds {
		if x == k {
			return true
		}
	}
	return false
}

func dirHasEntries(dir string) bool {
	e, err := os.ReadDir(dir)
	return err == nil && len(e) > 0
}

// KindOf reads the marker without opening the repo.
func KindOf(dir string) (Kind, error) {
	b, err := os.ReadFile(filepath.Join(dir, fileKind))
	if errors.Is(err, fs.ErrNotExist) {
		return "", &ErrNoRepo{Dir: dir}
	}
	if err != nil {
		return "", fmt.Errorf("open repo: %w", err)
	}
	var m marker
	if err := json.Unmarshal(b, &m); err != nil || !validKind(m.Kind) {
		return "", fmt.Errorf("open repo %s: %s is damaged; restore it from a backup (it says "+
			"{\"Kind\":\"miner\",\"Version\":%d} or another kind)", dir, fileKind, layoutVersion)
	}
	if m.Version != layoutVersion {
		return "", fmt.Errorf("open repo %s: layout version %d, this build knows %d; use the release that wrote it", dir, m.Version,
			layoutVersion)
	}
	return m.Kind, nil
}

// Open locks and opens the repo in dir. ErrNoRepo and ErrLocked are the usual
// refusals. Close it.
func Open(dir string) (*Repo, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open repo: %w", err)
	}
	kind, err := KindOf(dir)
	if err != nil {
		return nil, err
	}
	if err := checkPrivate(dir); err != nil {
		return nil, err
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	r := &Repo{dir: dir, kind: kind, lock: lock, keys: &Keystore{dir: filepath.Join(dir, dirKeystore)}}
	r.close = sync.OnceValue(r.doClose)
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// OpenAs is Open for a process of one kind: the repo of another is refused
// before anything in it is touched.
func OpenAs(dir string, kind Kind) (*Repo, error) {
	have, err := KindOf(dir)
	if err != nil {
		return nil, err
	}
	if have != kind {
		return nil, &ErrKind{Dir: dir, Have: have, Want: kind}
	}
	return Open(dir)
}

func (r *Repo) open() error {
	var err error
	if err := r.hold(); err != nil {
		return err
	}
	if r.store, err = openStore(filepath.Join(r.dir, dirDatastore)); err != nil {
		return fmt.Errorf("open repo %s: %w", r.dir, err)
	}
	if r.tokens, err = openTokens(r.keys, r.Datastore(Auth), filepath.Join(r.dir, FileToken)); err != nil {
		return fmt.Errorf("open repo %s: %w", r.dir, err)
	}
	return nil
}

func acquire(dir string) (io.Closer, error) {
	lock, err := fslock.Lock(dir, fileLock)
	var held fslock.LockedError
	if errors.As(err, &held) {
		return nil, &ErrLocked{Dir: dir, Holder: holderOf(dir)}
	}
	if err != nil {
		return nil, fmt.Errorf("lock repo %s: %w", dir, err)
	}
	if err := durable.WriteFile(filepath.Join(dir, filePID), []byte(holder.Self("").String()+"\n"), 0o644); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func holderOf(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, filePID))
	if who := strings.TrimSpace(string(b)); err == nil && who != "" {
		return who
	}
	return "another process"
}

// Dir is the absolute directory.
func (r *Repo) Dir() string { return r.dir }

// Path joins a name inside the repo.
func (r *Repo) Path(elem ...string) string {
	return filepath.Join(append([]string{r.dir}, elem...)...)
}

// Kind is the sort of process this repo belongs to.
func (r *Repo) Kind() Kind { return r.kind }

// Keystore holds private keys.
func (r *Repo) Keystore() *Keystore { return r.keys }

// Tokens issues and checks API tokens.
func (r *Repo) Tokens() *Tokens { return r.tokens }

// WriteAPI publishes where the API listens, for commands on the same host.
// Close removes it.
func (r *Repo) WriteAPI(multiaddr string) error {
	return durable.WriteFile(filepath.Join(r.dir, FileAPI), []byte(multiaddr+"\n"), 0o644)
}

// Close releases everything. It is safe to repeat.
func (r *Repo) Close() error { return r.close() }

func (r *Repo) doClose() error {
	var errs []error
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	errs = append(errs, durable.Remove(filepath.Join(r.dir, FileAPI)), durable.Remove(filepath.Join(r.dir, filePID)))
	if r.copies != nil {
		errs = append(errs, r.copies.Release())
	}
	errs = append(errs, r.lock.Close())
	return errors.Join(errs...)
}

// APIInfo reads token and address of the process that runs on the repo in dir,
// without opening it: "token:multiaddr".
func APIInfo(dir string) (string, error) {
	if _, err := KindOf(dir); err != nil {
		return "", err
	}
	addr, err := os.ReadFile(filepath.Join(dir, FileAPI))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no process is running on repo %s (it has no file %q); start it first", dir, FileAPI)
	}
	if err != nil {
		return "", fmt.Errorf("read the API address: %w", err)
	}
	token, err := secret.ReadOwn(filepath.Join(dir, FileToken), maxToken)
	if err != nil {
		return "", fmt.Errorf("read the API token: %w", err)
	}
	return apiinfo.Format(secret.New(strings.TrimSpace(string(token))), strings.TrimSpace(string(addr))), nil
}
