"""Test process-wide settings: where compiled programs are kept, and the compiler options that this jaxlib knows."""

import jax
import pytest

from jaxsr.runtime import compilation, cpu, onednn


@pytest.fixture(autouse=True)
def restored():
    """Start without a cache, and restore the settings of JAX afterwards."""
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_enable_compilation_cache"
    before = {name: jax.config.values[name] for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_enable_compilation_cache", True)
    compilation.compiler_options.cache_clear()
    yield
    compilation.compiler_options.cache_clear()
    for name, value in before.items():
        jax.config.update(name, value)


def test_compiled_programs_are_kept_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSR_CACHE", "")
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path))
    assert compilation.enable_compilation_cache() == tmp_path / "xla"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "xla")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("channels", [96, 128])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_programs_are_not_kept_where_onednn_gains_more(tmp_path, monkeypatch, active, fast, channels, precision):
    monkeypatch.setenv("JAXSR_CACHE", "")
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(onednn, "active", lambda: active)
    monkeypatch.setattr(cpu, "fast_bfloat16", lambda: fast)
    gains = active and (channels == 128 or (precision == "bf16" and fast))
    assert compilation.enable_compilation_cache(channels, precision) == (None if gains else tmp_path / "xla")
    assert jax.config.jax_compilation_cache_dir == (None if gains else str(tmp_path / "xla"))


def test_a_process_that_called_onednn_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSR_CACHE", "")
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path))
    jax.config.update("jax_enable_compilation_cache", False)
    assert compilation.enable_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir is None


def test_the_cache_can_be_turned_off(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSR_CACHE", "off")
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path))
    assert compilation.enable_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir is None


def test_a_cache_folder_that_cannot_be_used_is_left_out_with_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAXSR_CACHE", "")
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path / "file/cache"))
    assert compilation.enable_compilation_cache() is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: compiled programs are not kept ({tmp_path / 'file/cache/xla'}: ")
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.setenv("JAXSR_CACHE", "off")
    assert compilation.enable_compilation_cache() is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["os.listdir", "tempfile.TemporaryFile"])
def test_a_cache_folder_of_another_user_is_left_out(tmp_path, monkeypatch, capsys, name):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("JAXSR_CACHE", "")
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(name, refused)
    assert compilation.enable_compilation_cache() is None
    assert "Permission denied" in capsys.readouterr().err


def test_a_cache_that_the_user_set_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSR_CACHE", "")
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    assert compilation.enable_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="no options for other devices")
def test_options_are_those_that_this_jaxlib_knows():
    expected = cpu.OPTIONS
    try:
        jax.jit(lambda x: x + 1, compiler_options=dict(cpu.OPTIONS))(0)
    except jax.errors.JaxRuntimeError:
        expected = None
    options = compilation.compiler_options()
    assert options == expected
    double = jax.jit(lambda x: 2 * x, compiler_options=options)
    assert float(double(3.0)) == 6


def test_no_options_for_a_jaxlib_that_does_not_know_them(monkeypatch):
    monkeypatch.setattr(cpu, "OPTIONS", {"xla_cpu_no_such_option": "1"})
    assert compilation.compiler_options() is None


def test_no_options_for_other_backends(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "jit", None)  # nothing is compiled
    assert compilation.compiler_options() is None
