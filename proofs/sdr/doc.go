package sdr
