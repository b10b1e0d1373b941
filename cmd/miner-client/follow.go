package main

import (
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"quarry/markets/wire"
)

// follower shows a deal's progress: a bar for the transfer, then a line for
// every change.
type follower struct {
	c    *cli.Context
	bar  *progressbar.ProgressBar
	last string
}

func (f *follower) report(st *wire.DealStatusResponse) {
	if st.DealStatus.Status == "Accepted" {
		if f.bar == nil {
			f.bar = bar(int64(st.TransferSize), "transferring")
		}
		_ = f.bar.Set64(int64(st.NBytesReceived))
	} else {
		f.done()
	}
	line := st.DealStatus.Status
	if s := st.DealStatus.SealingStatus; s != "" {
		line += ", sector " + s
	}
	if e := st.DealStatus.Error; e != "" {
		line += ", error: " + e
	}
	if line != f.last {
		f.last = line
		say(f.c, "%s", line)
	}
}

func (f *follower) done() {
	if f.bar != nil {
		_ = f.bar.Exit()
		f.bar = nil
	}
}
