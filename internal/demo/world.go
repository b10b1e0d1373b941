package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"quarry/api"
	"quarry/internal/testnet"
)

// sizes of one devnet sector: what fits it with room for the CAR around it.
// 8 MiB of sector hold 127/128 of that in payload, and a piece is a power of
// two.
type sizes struct {
	maxFile     int64
	defaultFile int64 // how much is stored when no file is given
}

var sectorSizes = map[string]sizes{
	"2KiB": {1500, 1400},
	"8MiB": {7 << 20, 5 << 20},
}

// demo is one run.
type demo struct {
	*testnet.Network
	o      options
	screen *screen

	deals       []*testnet.Deal
	started     time.Time
	lastProving api.ProvingStatus
	lastMining  api.MiningStatus

	onChainSectors api.MinerSectors

	before uint64        // window PoSts accepted before the deal
	pace   time.Duration // set by slowDown
	slowed time.Time
}

func newDemo(o options) (*demo, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	d := &demo{o: o, screen: newScreen(), started: time.Now()}
	var err error
	if d.Network, err = testnet.New(testnet.Config{
		Bin:        o.bin,
		Dir:        o.dir,
		SectorSize: o.sectorSize,
		Form:       o.form,
		MarketsEnv: o.marketsEnv,
		Note:       d.screen.note,
	}); err != nil {
		return nil, err
	}
	return d, d.prepareFiles()
}

// prepareFiles copies what will be stored into the run's directory, so that the
// comparison at the end is with bytes nobody changed meanwhile. Without a file
// of the user's, consecutive parts of the miner binary are stored.
func (d *demo) prepareFiles() error {
	size, ok := sectorSizes[d.o.sectorSize]
	if !ok {
		return fmt.Errorf("sector size %q: the devnet knows 2KiB and 8MiB", d.o.sectorSize)
	}
	src, limit := d.o.file, size.maxFile
	if src == "" {
		src, limit = filepath.Join(d.o.bin, "miner"), size.defaultFile
	} else if d.o.deals != 1 {
		return errors.New("one file makes one deal; leave out --file or --deals")
	}
	in, err := os.Open(src)
	if err != nil {
		return fmt.Errorf("open the file to store: %w", err)
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if d.o.file != "" && st.Size() > size.maxFile {
		return fmt.Errorf("%s has %d bytes; one %s sector takes files up to %d bytes", src, st.Size(), d.o.sectorSize, size.maxFile)
	}
	for i := range d.o.deals {
		one, err := d.NewDeal(strconv.Itoa(i), io.LimitReader(in, limit))
		if err != nil {
			return fmt.Errorf("copy %s: %w", src, err)
		}
		d.deals = append(d.deals, one)
	}
	return nil
}
