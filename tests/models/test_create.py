"""Networks by name: what is known, what is suggested, which size is meant, and images of the wrong size."""

import json

import pytest
import timm
import torch
import torchvision
from registered_networks import NETWORKS, images, network
from timm.models import save_for_hf
from torch import nn

from leannet import UserError, create_network, leannet_networks
from leannet.models import check_name, default_img_size, is_model_folder, known_networks, model_title


def test_the_networks_of_the_papers_are_listed():
    assert {
        *("efficientnet_b0_dmp", "efficientnet_b0_maxpool", "efficientnet_b0_duplicate"),
        *("mobilenetv2_bias", "mobilenetv2_optimised"),
        *("mobilenetv2_cse", "mobilenetv2_cse_literal", "mobilenetv2_cse_only"),
        *("sm_v2", "sm_v2_2_2", "sm_v2_2_1_5", "sm_v2_3_2", "sm_v2_x2nr"),
        *("resnet20_cifar", "resnet44_cifar", "resnet56_cifar", "resnet110_cifar"),
    } <= set(leannet_networks())
    assert "adapted" not in leannet_networks()
    assert not {"resnet18", "mobilenetv2_100", "efficientnet_b0"} & set(leannet_networks())


@pytest.mark.parametrize("name", [*NETWORKS, "mobilenetv2_100", "efficientnet_b0.ra_in1k", "torchvision/resnet18"])
def test_known_names_pass(name):
    check_name(name)
    assert name.partition(".")[0] in known_networks()


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("sm_v3", "sm_v2"),
        ("mobilenet_v2_cse", "mobilenetv2_cse"),
        ("efficientnet_b0_dmpp", "efficientnet_b0_dmp"),
        ("resnet20_cifar10", "resnet20_cifar"),
        ("torchvision/mobilenet_v9", "torchvision/mobilenet_v2"),
        ("torchvision/mobilenetv2_100", "torchvision/mobilenet_v2"),
        ("torchvision/swin", "torchvision/swin_t"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(name, suggestion):
    for ask in (check_name, default_img_size, create_network):
        with pytest.raises(UserError) as error:
            ask(name)
        assert error.value.what == f"unknown network {name}"
        assert error.value.why == "neither timm, nor leannet, nor torchvision/ has it, and it is no model folder"
        assert error.value.remedy.startswith("Did you mean ")
        assert suggestion in error.value.remedy
        likest = error.value.remedy.partition("?")[0].removeprefix("Did you mean ").split(" or ")
        assert not name.startswith("torchvision/") or all(each.startswith("torchvision/") for each in likest)
        assert "`leannet models --all PATTERN` searches the names" in error.value.remedy


@pytest.mark.parametrize("name", ["", "qqqqqqqq", "adaptedd"])
def test_a_name_like_no_other_is_answered_without_a_guess_of_ours(name):
    with pytest.raises(UserError, match="unknown network") as error:
        check_name(name)
    assert "adapted" not in error.value.remedy


@pytest.mark.parametrize("name", ["torchvision/", "torchvision/nope", "torchvision/qq"])
def test_the_prefix_alone_makes_no_name_like_another(name):
    with pytest.raises(UserError, match="unknown network") as error:
        check_name(name)
    assert error.value.remedy == "`leannet models --all PATTERN` searches the names"


@pytest.mark.parametrize("name", ["e.onnx", "resnet20_cifar.onnx", "runs/lcnet_050.ONNX", "e.pt2", "e.xml", "e.pte"])
def test_an_exported_file_is_no_network(name):
    """Some names of files look like a network with a tag of weights."""
    takers = "; `leannet predict` and `leannet serve` take such files" if name.lower().endswith(".onnx") else ""
    for ask in (check_name, default_img_size, create_network):
        with pytest.raises(UserError) as error:
            ask(name)
        assert str(error.value) == (
            f"cannot take {name}: it is a file, not a network. Give the model folder that it was exported from{takers}."
        )


def test_any_other_file_is_no_network(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"it is a file, not a network\. Give a model folder\.$"):
        check_name(str(tmp_path / "model.safetensors"))


def test_an_unknown_tag_of_weights_is_the_users_error():
    with pytest.raises(UserError):
        create_network("mobilenetv2_100.no_such_weights")


def test_a_tag_of_the_source_names_weights_of_an_adapted_network():
    assert create_network("efficientnet_b0_dmp.ra_in1k").num_classes == 1000


def test_a_folder_is_a_model_folder_if_it_has_a_configuration(tmp_path):
    assert not is_model_folder(str(tmp_path))
    with pytest.raises(UserError, match="it is no model folder"):
        check_name(str(tmp_path))
    save_for_hf(timm.create_model("resnet20_cifar", num_classes=3), tmp_path, safe_serialization=True)
    assert is_model_folder(str(tmp_path))
    check_name(str(tmp_path))
    assert default_img_size(str(tmp_path)) == 32
    assert create_network(str(tmp_path)).num_classes == 3


def test_the_size_of_a_folder_is_the_one_it_was_saved_with(tmp_path):
    model = create_network("mobilenetv2_cse", img_size=64)
    save_for_hf(model, tmp_path, safe_serialization=True)
    assert default_img_size(str(tmp_path)) == 64
    configuration = json.loads((tmp_path / "config.json").read_text())
    assert configuration["pretrained_cfg"]["input_size"] == [3, 64, 64]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("sm_v2", 224),
        ("mobilenetv2_optimised", 224),
        ("mobilenetv2_cse", 32),
        ("resnet20_cifar", 32),
        ("efficientnet_b0_dmp", 224),
        ("inception_v3", 299),
        ("efficientnet_b0.ra_in1k", 224),
        ("tf_efficientnetv2_b0.in1k", 192),
        ("torchvision/mobilenet_v2", 224),
        ("torchvision/inception_v3", 299),
    ],
)
def test_default_sizes(name, size):
    assert default_img_size(name) == size


def test_classes_and_arguments_are_handed_on():
    assert create_network("sm_v2").num_classes == 1000
    model = create_network("sm_v2", num_classes=3, in_chans=1, drop_rate=0.2)
    assert (model.num_classes, model.in_chans, model.drop_rate) == (3, 1, 0.2)
    assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 3)


def test_a_network_of_torchvision_is_the_one_of_torchvision():
    torch.manual_seed(0)
    model = create_network("torchvision/shufflenet_v2_x0_5", num_classes=5).eval()
    theirs = torchvision.models.shufflenet_v2_x0_5(num_classes=5).eval()
    theirs.load_state_dict(model.state_dict())
    batch = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(batch), theirs(batch))
    facts = model.pretrained_cfg
    assert (model.num_classes, model.num_features, facts["input_size"]) == (5, 1024, (3, 224, 224))
    assert model.get_submodule(facts["classifier"]) is model.fc


@pytest.mark.parametrize("name", ["googlenet", "vit_b_32", "swin_t", "convnext_tiny", "maxvit_t", "vgg11"])
def test_every_kind_of_torchvision_network_has_its_classifier_found(name):
    with torch.device("meta"):
        model = create_network(f"torchvision/{name}", num_classes=5)
    assert model.get_submodule(model.pretrained_cfg["classifier"]).out_features == 5
    assert 5 in next(reversed(list(model.parameters()))).shape


def test_squeezenet_is_a_network_of_torchvision_too():
    assert "torchvision/squeezenet1_1" in known_networks()
    assert create_network("torchvision/squeezenet1_1", num_classes=5)(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


@pytest.mark.parametrize("arguments", [{"in_chans": 1}, {"drop_rate": 0.2}], ids=str)
def test_torchvision_networks_refuse_or_take_the_arguments_of_others(arguments):
    try:
        model = create_network("torchvision/resnet18", **arguments)
    except UserError:
        return
    assert model(torch.zeros(2, arguments.get("in_chans", 3), 64, 64)).shape == (2, 1000)


GATED = [name for name in NETWORKS if "cse" in name]


@pytest.mark.parametrize("name", GATED)
@pytest.mark.parametrize("size", [(40, 40), (32, 40), (40, 32), (16, 64)])
def test_images_of_another_size_are_refused_before_anything_is_computed(name, size):
    model, calls = network(name), []
    hooks = [
        m.register_forward_pre_hook(lambda *_: calls.append(1)) for m in model.modules() if isinstance(m, nn.Conv2d)
    ]
    with pytest.raises(UserError) as error:
        model(torch.zeros(2, 3, *size))
    assert calls == []
    assert str(error.value) == (
        f"the network takes images of 32 x 32 pixels, not {size[0]} x {size[1]}: "
        f"its gates have a weight for every position. "
        f"Pass --img-size 32, or make a network with img_size={size[0]}."
    )
    model(images(name))
    assert calls
    for hook in hooks:
        hook.remove()


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated")
def test_a_scripted_network_refuses_them_too():
    scripted = torch.jit.script(network("mobilenetv2_cse"))
    scripted(torch.zeros(2, 3, 32, 32))
    with pytest.raises(Exception, match="size"):
        scripted(torch.zeros(2, 3, 40, 40))


def test_a_network_taken_apart_by_fx_refuses_them_too():
    graph = torch.fx.symbolic_trace(network("mobilenetv2_cse"))
    batch = images("mobilenetv2_cse")
    torch.testing.assert_close(graph(batch), network("mobilenetv2_cse")(batch))
    with pytest.raises(UserError, match="32 x 32"):
        graph(torch.zeros(2, 3, 40, 40))


@pytest.mark.parametrize(("size", "message"), [(36, "--img-size 32 or 40"), (100, "--img-size 96 or 128")])
def test_gates_refuse_sizes_that_are_not_halved_without_a_rest(size, message):
    for make in (create_network, timm.create_model):
        with pytest.raises(UserError, match=f"{size} x {size} pixels.*{message}"):
            make("mobilenetv2_cse", img_size=size)
    assert create_network("mobilenetv2_optimised", img_size=size)(torch.zeros(2, 3, size, size)).shape == (2, 1000)


@pytest.mark.parametrize(("size", "reduction"), [(32, 8), (48, 8), (56, 8), (64, 32), (96, 32)])
def test_gates_take_the_form_that_fits_their_size(size, reduction):
    model = create_network("mobilenetv2_cse", img_size=size).eval()
    assert model.pretrained_cfg["input_size"] == (3, size, size)
    assert model.feature_info[-1]["reduction"] == reduction
    with torch.no_grad():
        assert model.forward_features(torch.zeros(1, 3, size, size)).shape[-1] == size // reduction


def test_networks_made_for_small_images_have_one_form():
    assert [
        m.stride for m in create_network("resnet20_cifar", small_input=True).modules() if isinstance(m, nn.Conv2d)
    ] == [m.stride for m in create_network("resnet20_cifar").modules() if isinstance(m, nn.Conv2d)]


def test_a_model_folder_is_called_by_its_source():
    assert model_title({"architecture": "sm_v2", "model_args": {"num_classes": 3}}) == "sm_v2"
    attached = {"architecture": "with_exits", "model_args": {"source": "mobilenetv2_100", "source_args": {}}}
    assert model_title(attached) == "mobilenetv2_100 with exits"
    adapted = {"source": "adapted", "source_args": {"source": "torchvision/mnasnet0_5"}}
    assert model_title({"architecture": "with_exits", "model_args": adapted}) == (
        "torchvision/mnasnet0_5, adapted with exits"
    )
    assert model_title({"architecture": "adapted"}) == "adapted"
