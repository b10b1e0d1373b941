package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"quarry/internal/ownaddr"
)

// Forms of proof, for Proving.Form.
const (
	FormAuto    = "auto"
	FormGroth16 = "groth16"
	FormVanilla = "vanilla"
)

// Validate refuses what cannot work, every reason with the line to change.
func (c Config) Validate() error {
	return errors.Join(append(c.values(), c.Subsystems.validate(c.Link.Accept), c.Link.validate(c.Subsystems))...)
}

// validate knows the combinations that are tested; others may be possible but
// nobody has proved that they are.
func (s Subsystems) validate(linked bool) error {
	private := s.EnableMining && s.EnableSealing && s.EnableSectorStorage
	none := !s.EnableMining && !s.EnableSealing && !s.EnableSectorStorage
	switch {
	case private:
		return nil // with markets the monolith, without the private node
	case none && !s.EnableMarkets:
		return errors.New("Subsystems: nothing is enabled, so this process would do nothing; set EnableMining, EnableSealing " +
			"and EnableSectorStorage (private node) or EnableMarkets (markets node) to true")
	case none && linked:
		return nil // Link.validate knows the rest
	case none && s.SealerApiInfo == "":
		return errors.New("Subsystems.SealerApiInfo is empty, but EnableSealing is false: set it to token:address of the " +
			"process that seals (there: auth api-info)")
	case none && s.SectorIndexApiInfo == "":
		return errors.New("Subsystems.SectorIndexApiInfo is empty, but EnableSectorStorage is false: set it to token:address " +
			"of the process with the sector index (usually the same as SealerApiInfo)")
	case none:
		return nil
	case s.EnableMining && !s.EnableSealing:
		return errors.New("Subsystems: EnableMining without EnableSealing is not offered; set EnableSealing = true, or " +
			"EnableMining = false on a markets node")
	case s.EnableMining:
		return errors.New("Subsystems: EnableMining without EnableSectorStorage is not offered, proving reads the sectors; " +
			"set EnableSectorStorage = true, or EnableMining = false on a markets node")
	case s.EnableSealing && s.EnableSectorStorage:
		return errors.New("Subsystems: sealing and storage apart from mining are not tested and therefore refused; set EnableMining = true")
	case s.EnableSealing:
		return errors.New("Subsystems: EnableSealing needs EnableMining and EnableSectorStorage in the same process; set both " +
			"to true, or EnableSealing = false on a markets node")
	default:
		return errors.New("Subsystems: EnableSectorStorage needs EnableMining and EnableSealing in the same process; set both " +
			"to true, or EnableSectorStorage = false on a markets node")
	}
}

// validate lets each half have its end of the link.
func (l Link) validate(s Subsystems) error {
	marketsNode := s.EnableMarkets && !s.EnableMining && !s.EnableSealing && !s.EnableSectorStorage
	switch {
	case l.Accept && !marketsNode:
		return errors.New("Link.Accept: only a markets node accepts the link; the private node opens it, with Link.MarketsApiInfo")
	case l.Accept && (s.SealerApiInfo != "" || s.SectorIndexApiInfo != ""):
		return errors.New("Link.Accept: the private node opens the link, so this node needs no address and no token of it; " +
			"empty Subsystems.SealerApiInfo and SectorIndexApiInfo (and revoke that token there), or set Accept = false")
	case l.MarketsApiInfo != "" && s.EnableMarkets:
		return errors.New("Link.MarketsApiInfo: the markets run in this process; set EnableMarkets = false on the private " +
			"node, or empty MarketsApiInfo")
	}
	return nil
}

func (c Config) values() []error {
	var errs []error
	bad := func(key, format string, args ...any) { errs = append(errs, fmt.Errorf(key+": "+format, args...)) }
	if err := listenable(c.API.ListenAddress); err != nil {
		bad("API.ListenAddress", "%w", err)
	}
	if a := c.API.RemoteListenAddress; a != "" && !reachable(a) {
		bad("API.RemoteListenAddress", "%q is neither host:port nor an http(s) URL that others can dial", a)
	}
	if c.API.MaxRequestBytes < 1<<16 {
		bad("API.MaxRequestBytes", "%d is too small for ordinary requests; use at least 65536", c.API.MaxRequestBytes)
	}
	errs = append(errs, c.shares()...)
	if c.Subsystems.EnableMarkets {
		errs = append(errs, c.markets()...)
	}
	if l := c.Sealing.CommittedCapacitySectorLifetime; l < 180*2880 || l > 1278*2880 { // FIP-0052
		bad("Sealing.CommittedCapacitySectorLifetime", "%s is outside 180 to 1278 days", l)
	}
	errs = append(errs, c.Sealing.batches()...)
	if f := c.Proving.Form; f != FormAuto && f != FormGroth16 && f != FormVanilla {
		bad("Proving.Form", "%q is none of %q, %q, %q", f, FormAuto, FormGroth16, FormVanilla)
	}
	if s := c.Storage; s.LocalWorker && !s.AllowAddPiece && !s.AllowPreCommit1 && !s.AllowPreCommit2 && !s.AllowCommit &&
		!s.AllowUnseal && !s.AllowReplicaUpdate && !s.AllowProveReplicaUpdate2 {
		bad("Storage.LocalWorker", "the local worker is on but allowed nothing; set LocalWorker = false or an Allow key to true")
	}
	return errs
}

// batches knows how many sectors the miner actor takes in one message
// (builtin-actors runtime/src/runtime/policy.rs, PRE_COMMIT_SECTOR_BATCH_MAX_SIZE;
// nothing is gained from more proofs than that).
func (s Sealing) batches() []error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("Sealing."+key+": "+format, args...))
	}
	if n := s.MaxPreCommitBatch; n < 1 || n > 256 {
		bad("MaxPreCommitBatch", "%d is outside 1 to 256; to send each alone set BatchPreCommits = false", n)
	}
	if n := s.MaxCommitBatch; n < 1 || n > 256 {
		bad("MaxCommitBatch", "%d is outside 1 to 256; with 1 every sector sends its own proof", n)
	}
	const week = 7 * 2880
	if w := s.PreCommitBatchWait; w < 1 || w > week {
		bad("PreCommitBatchWait", "%s is outside one epoch to a week; to send each alone set BatchPreCommits = false", w)
	}
	if w := s.CommitBatchWait; w < 1 || w > week {
		bad("CommitBatchWait", "%s is outside one epoch to a week; to send each alone set MaxCommitBatch = 1", w)
	}
	return errs
}

func (c Config) markets() []error {
	var errs []error
	bad := func(key, format string, args ...any) { errs = append(errs, fmt.Errorf(key+": "+format, args...)) }
	for key, list := range map[string][]string{"Libp2p.ListenAddresses": c.Libp2p.ListenAddresses,
		"Libp2p.AnnounceAddresses": c.Libp2p.AnnounceAddresses} {
		for _, a := range list {
			if _, err := multiaddr.NewMultiaddr(a); err != nil {
				bad(key, "%q is not a multiaddr such as /ip4/0.0.0.0/tcp/24001", a)
			}
		}
	}
	for _, a := range c.Libp2p.AnnounceAddresses {
		if undialable(a) {
			bad("Libp2p.AnnounceAddresses", "nobody can dial %q; name the address and port by which clients reach this host", a)
		}
	}
	d := c.Dealmaking
	for _, p := range d.PieceCidBlocklist {
		if _, err := cid.Decode(p); err != nil {
			bad("Dealmaking.PieceCidBlocklist", "%q is not a CID", p)
		}
	}
	if d.MaxDealsPerPublishMsg == 0 {
		bad("Dealmaking.MaxDealsPerPublishMsg", "0 would publish nothing; use at least 1")
	}
	if d.MaxProviderCollateralMultiplier == 0 {
		bad("Dealmaking.MaxProviderCollateralMultiplier", "0 would refuse every deal; use at least 1")
	}
	if d.SimultaneousTransfersForStorage == 0 {
		bad("Dealmaking.SimultaneousTransfersForStorage", "0 would transfer nothing; use at least 1")
	}
	if d.MaxDealStartDelay <= d.ExpectedSealDuration {
		bad("Dealmaking.MaxDealStartDelay", "%s is not longer than ExpectedSealDuration (%s), so no deal could be accepted",
			d.MaxDealStartDelay, d.ExpectedSealDuration)
	}
	if a := d.RetrievalListenAddress; a != "" {
		if _, _, err := net.SplitHostPort(a); err != nil {
			bad("Dealmaking.RetrievalListenAddress", "%q is not host:port", a)
		}
	}
	for _, a := range c.Addresses.DealPublishControl {
		if _, err := address.NewFromString(a); err != nil {
			bad("Addresses.DealPublishControl", "%q is not an address: %w", a, err)
		}
	}
	return errs
}

// undialable tells whether a multiaddr stands for every address or for any port.
func undialable(a string) bool {
	m, err := multiaddr.NewMultiaddr(a)
	if err != nil {
		return false // refused as what it is
	}
	if manet.IsIPUnspecified(m) {
		return true
	}
	for _, code := range []int{multiaddr.P_TCP, multiaddr.P_UDP} {
		if port, err := m.ValueForProtocol(code); err == nil && port == "0" {
			return true
		}
	}
	return false
}

// reachable takes host:port, or a URL where a proxy stands before the API. The
// host is one that can be dialled.
func reachable(a string) bool {
	host, port, err := net.SplitHostPort(a)
	if u, uerr := url.Parse(a); uerr == nil && (u.Scheme == "http" || u.Scheme == "https") {
		if u.Host == "" || u.RawQuery != "" || u.User != nil {
			return false
		}
		host, port, err = u.Hostname(), u.Port(), nil
	}
	return err == nil && port != "0" && !ownaddr.Everywhere(host)
}

func listenable(a string) error {
	if strings.HasPrefix(a, "/") {
		_, err := multiaddr.NewMultiaddr(a)
		return err
	}
	if _, _, err := net.SplitHostPort(a); err != nil {
		return fmt.Errorf("%q is neither a multiaddr nor host:port", a)
	}
	return nil
}
