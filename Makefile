# Each target installs what it needs (Debian; see cmake/apt-packages.txt) and builds in build/<preset>.
.POSIX:
.SUFFIXES:

WORDS = /usr/include

.PHONY: help install-deps demo test lint format tidy bench asan tsan clang fuzz clean

help:
	@echo 'make demo          two processes and two threads, then words counted by workers'
	@echo 'make test          build and run the tests'
	@echo 'make lint          layers, contracts, sizes, layout: seconds'
	@echo 'make format        clang-format over the checkout'
	@echo 'make tidy          clang-tidy'
	@echo 'make asan tsan     the tests under sanitizers'
	@echo 'make clang         the tests, built by clang++'
	@echo 'make fuzz          one minute for each fuzz target'
	@echo 'make bench         the benchmarks'
	@echo 'make install-deps  all packages for all of these'
	@echo 'make clean         removes build/'

install-deps:
	@cmake/install-packages

demo:
	@cmake/install-packages demo
	@cmake --preset demo >/dev/null
	@cmake --build --preset demo
	@echo
	build/demo/tools/cli/tandem demo
	@echo
	build/demo/examples/word_count $(WORDS)

test:
	@cmake/install-packages test
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev
	@ctest --preset dev

lint:
	@cmake/install-packages lint
	@tools/lint/run

format:
	@cmake/install-packages lint
	@tools/lint/run --fix

tidy:
	@cmake/install-packages tidy
	@cmake --preset dev >/dev/null
	@tools/lint/tidy build/dev

bench:
	@cmake/install-packages bench
	@cmake --preset release >/dev/null
	@cmake --build --preset release
	@cmake -DBUILD_DIR=build/release -P cmake/RunBenchmarks.cmake

asan tsan clang:
	@cmake/install-packages $@
	@cmake --preset $@ >/dev/null
	@cmake --build --preset $@
	@ctest --preset $@

fuzz:
	@cmake/install-packages fuzz
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz
	@cmake -DSOURCE_DIR=. -DBUILD_DIR=build/fuzz -P cmake/RunFuzzers.cmake

clean:
	rm -rf build
