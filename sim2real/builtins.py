"""Everything that ships with sim2real, offered through the same hooks as a third party's."""

from sim2real.hookspecs import Register, hookimpl


@hookimpl
def register_generators(register: Register) -> None:  # noqa: D103  the hook's own docstring in hookspecs.py is the manual
    at = "sim2real.networks.generators"
    register("encoder-decoder", f"{at}:EncoderDecoder", summary="strided 4x4 convolutions around residual blocks")
    register("resnet", f"{at}:ResNet", summary="7x7 stem, 3x3 strided convolutions, 6 or 9 residual blocks")
    register("unet", "sim2real.networks.unet:UNet", summary="pix2pix: halves the image to a pixel and back, with skips")
    register("onnx", "sim2real.networks.onnx:OnnxGenerator", summary="a network in an ONNX file, see `sim2real import`")
    register("frames", "sim2real.networks.frames:Frames", summary="of another program, see `sim2real import-frames`")
    register("grid", "sim2real.networks.grid:Grid", summary="colour transforms by place and brightness: edges stay")
    register(
        "textured-grid",
        "sim2real.networks.textured:TexturedGrid",
        summary="grid plus fine texture of small amplitude where masks allow it",
    )
    at = "sim2real.networks.colour"
    register("reinhard", f"{at}:Reinhard", summary="untrained: mean and spread of lightness and colours")
    register("histogram", f"{at}:Histogram", summary="untrained: histograms of a real image's channels")
    register("pixel-distribution", f"{at}:PixelDistribution", summary="untrained: mean and covariance of colours")
    register("fda", f"{at}:FourierDomainAdaptation", summary="untrained: amplitudes of a real image's low frequencies")
    register(
        "class-distribution",
        "sim2real.networks.classes:ClassDistribution",
        summary="untrained: mean and covariance of each class's colours",
    )
    register("identity", f"{at}:Identity", summary="untrained: images as they are, for use with a camera")
    register("augment", f"{at}:Variation", summary="untrained: hand-made changes of light, blur and noise")


@hookimpl
def register_discriminators(register: Register) -> None:  # noqa: D103
    at = "sim2real.networks.discriminators"
    register("patch", f"{at}:Patch", summary="judges overlapping patches of 78 pixels, one score per 16x16 cell")
    register("global", f"{at}:Global", summary="judges the whole image with one score")
    register("combined", f"{at}:Combined", summary="patch and global at once")
    register("patchgan70", f"{at}:PatchGAN70", summary="judges overlapping 70x70 patches, one score per 8x8 cell")
    register("projection", f"{at}:Projection", summary="patchgan70 that knows the class of each patch")


@hookimpl
def register_losses(register: Register) -> None:  # noqa: D103
    register("cycle", "sim2real.losses:Cycle", summary="L1 between an image and its way there and back")
    register(
        "identity", "sim2real.losses:Identity", summary="L1 between an image and what its own domain's generator makes"
    )
    register("new-edges", "sim2real.losses:NewEdges", summary="edges of translated frames that the frames do not have")
    register("teacher", "sim2real.losses:Teacher", summary="L1 to what another program made of the frames")
    register("flow", "sim2real.losses:FlowConsistency", summary="flicker along the simulation's optical flow")


@hookimpl
def register_methods(register: Register) -> None:  # noqa: D103
    register(
        "cyclegan",
        "sim2real.methods.cyclegan:CycleGAN",
        summary="two generators, two discriminators, a cycle",
    )
    register("cut", "sim2real.methods.cut:CUT", summary="one generator, one discriminator, contrastive patches")
    register(
        "one-sided",
        "sim2real.methods.onesided:OneSided",
        summary="discriminators and statistics, one way or both",
    )
    register("fit", "sim2real.methods.fit:Fit", summary="shows images to generators that are not trained")
    register(
        "pseudo-labels", "sim2real.methods.pseudo:PseudoLabels", summary="labels real images by the simulation's masks"
    )


@hookimpl
def register_datasets(register: Register) -> None:  # noqa: D103
    layouts = {  # the more specific first
        "vkitti2": ("vkitti:VirtualKitti2", "Virtual KITTI 2: Scene01/clone/frames/rgb/Camera_0/..."),
        "vkitti1": ("vkitti:VirtualKitti1", "Virtual KITTI 1.3.1: vkitti_1.3.1_rgb/0001/clone/..."),
        "unity-solo": ("solo:Solo", "Unity Perception: sequence.0/{step0.frame_data.json,step0.camera.png}"),
        "unity-perception": ("solo:Perception", "Unity Perception before SOLO: Dataset*/captures_000.json"),
        "replicator-basic": ("replicator:ReplicatorBasic", "Isaac Sim, BasicWriter: rgb_0000.png, ..."),
        "replicator-coco": ("replicator:ReplicatorCoco", "Isaac Sim, CocoWriter: coco_annotations_*.json"),
        "replicator-kitti": ("replicator:ReplicatorKitti", "Isaac Sim, KittiWriter: <camera>/rgb/0.png, ..."),
        "falling-things": ("ndds:FallingThings", "Falling Things: 000000.left.{jpg,json,seg.png}, ..."),
        "ndds": ("ndds:Ndds", "NDDS: 000000.{png,json,cs.png,...}, _camera_settings.json"),
        "replicator-pose": ("replicator:ReplicatorPose", "Isaac Sim, PoseWriter: 000000.{png,json}"),
        "replicator-mobilitygen": (
            "replicator:ReplicatorMobilityGen",
            "Isaac Sim, MobilityGen: state/rgb/<camera>/00000000.jpg",
        ),
        "hypersim": ("hypersim:Hypersim", "Hypersim: ai_001_001/images/scene_cam_00_..."),
        "hypersim-marigold": ("hypersim:HypersimMarigold", "Hypersim for Marigold: rgb_cam_00_fr0000.png"),
        "tartanair-v2": ("tartanair:TartanAirV2", "TartanAir V2, TartanGround: Data_easy/P000/..."),
        "tartanair": ("tartanair:TartanAir", "TartanAir: <environment>/Easy/P000/image_left/..."),
        "bop": ("bop:Bop", "BOP: 000000/{rgb,depth,mask_visib}/..., 000000/scene_gt.json"),
        "kubric": ("kubric:Kubric", "Kubric: rgba_00000.png, segmentation_00000.png, ..."),
        "nocs": ("nocs:Nocs", "NOCS: 0000_color.png, 0000_mask.png, 0000_coord.png, ..."),
        "airsim": ("airsim:AirSim", "AirSim recordings: airsim_rec.txt, images/img_..._0_....png"),
        "carla-bench2drive": ("carla:CarlaBench2Drive", "Bench2Drive: <clip>/camera/rgb_front/00000.jpg"),
        "carla-garage": ("carla:CarlaGarage", "carla_garage (TransFuser): <route>/rgb/0000.jpg, ..."),
        "carla-opv2v": ("carla:CarlaOpv2v", "OPV2V, V2XSet: <vehicle>/000069_camera0.png, ..."),
        "carla-shift": ("carla:CarlaShift", "SHIFT, unpacked: images/train/front/img/<sequence>/..."),
        "carla-data-collector": ("carla:CarlaDataCollector", "CARLA (CoIL): episode_00000/CentralRGB_..."),
        "carla-kitti": ("carla:CarlaKitti", "KITTI-CARLA: Town01/generated/images_rgb/0000_0.png"),
        "nuimages": ("nuscenes:NuImages", "nuImages: samples/CAM_FRONT/..., v1.0-train/object_ann.json"),
        "nuscenes": ("nuscenes:NuScenes", "nuScenes: samples/CAM_FRONT/..., v1.0-mini/scene.json"),
        "cityscapes": ("cityscapes:Cityscapes", "Cityscapes: leftImg8bit/train/aachen/..."),
        "gta5": ("gta5:Gta5", "GTA5: images/00001.png, labels/00001.png"),
        "synthia-rand": ("synthia:SynthiaRand", "SYNTHIA-RAND-CITYSCAPES: RGB, GT/LABELS, Depth"),
        "synthia-seqs": ("synthia:SynthiaSequences", "SYNTHIA-SEQS: RGB/Stereo_Left/Omni_F/..."),
        "bdd100k": ("bdd100k:Bdd100k", "BDD100K: images/10k/train/0a0a0b1a-7c39d841.jpg, labels/..."),
        "mapillary-vistas": ("mapillary:MapillaryVistas", "Mapillary Vistas: training/images/..."),
        "kitti-flow2015": ("kitti:KittiFlow2015", "KITTI stereo, flow and scene flow 2015"),
        "kitti-raw": ("kitti:KittiRaw", "KITTI raw drives: 2011_09_26_drive_0001_sync/image_02/data/..."),
        "kitti-depth": ("kitti:KittiDepth", "KITTI depth, selected frames: val_selection_cropped/..."),
        "kitti-odometry": ("kitti:KittiOdometry", "KITTI odometry: sequences/00/image_2/..."),
        "kitti-tracking": ("kitti:KittiTracking", "KITTI tracking: training/image_02/0000/..."),
        "kitti-semantics": ("kitti:KittiSemantics", "KITTI semantics 2015: training/{image_2,semantic}/..."),
        "kitti-object": ("kitti:KittiObject", "KITTI object: training/{image_2,label_2,calib}/..."),
        "udacity": ("driving:Udacity", "Udacity's simulator: driving_log.csv, IMG/center_....jpg"),
        "donkeycar": ("driving:DonkeyCar", "donkeycar: catalog_0.catalog, images/0_cam_image_array_.jpg"),
        "donkeycar-v1": ("driving:DonkeyCarRecords", "donkeycar before 4: record_0.json, 0_cam-image_array_.jpg"),
        "labelme": ("labelme:LabelMe", "LabelMe: 0001.jpg, 0001.json with its shapes"),
        "labelme-export": ("labelme:LabelMeExport", "LabelMe, exported: 0001_json/{img,label,label_viz}.png"),
        "cvat": ("cvat:Cvat", "CVAT for images: annotations.xml, images/0001.jpg"),
        "createml": ("createml:CreateMl", "CreateML: _annotations.createml.json, 0001.jpg"),
        "voc": ("voc:PascalVOC", "Pascal VOC: JPEGImages, Annotations, SegmentationClass, ..."),
        "coco": ("coco:Coco", "COCO: annotations/instances_*.json, panoptic PNGs, and their images"),
        "yolo": ("yolo:Yolo", "YOLO: images/.../0001.jpg, labels/.../0001.txt"),
        "cyclegan": ("cyclegan:CycleGAN", "CycleGAN folders: trainA, trainB, testA, testB"),
        "kaggle-monet": ("cyclegan:KaggleMonet", "Kaggle's gan-getting-started: monet_jpg, photo_jpg"),
        "images": ("images:Images", "any folder of images; everything else is carried"),
    }
    for name, (target, summary) in layouts.items():
        register(name, f"sim2real.datasets.{target}", summary=summary)


@hookimpl
def register_metrics(register: Register) -> None:  # noqa: D103
    at = "sim2real.metrics"
    register("sliced-wasserstein", f"{at}.wasserstein:SlicedWassersteinMetric", summary="patches of all scales")
    register("colour", f"{at}.colour:ColourMetric", summary="earth mover's distance of colours")
    register("spectrum", f"{at}.spectrum:SpectrumMetric", summary="power spectra: fine texture, blur, noise")
    register("two-sample", f"{at}.two_sample:TwoSampleMetric", summary="can a classifier tell converted from real?")
    register("kid", f"{at}.features:KernelMetric", summary="kernel distance of a network's features; needs its weights")
    register(
        "frechet", f"{at}.features:FrechetMetric", summary="Frechet distance of a network's features; needs its weights"
    )
    register(
        "fid", f"{at}.inception:FrechetInceptionMetric", summary="FID, of 2000 pictures or more; needs its weights"
    )
    register("lpips", f"{at}.perceptual:LpipsMetric", summary="perceptual change of a frame; needs weights")
    register("edges", f"{at}.edges:EdgeMetric", summary="shares of edges that are new, and that are lost")
    register(
        "structure",
        f"{at}.structure:StructureMetric",
        summary="edges at the labels' outlines, inside them and in skies",
    )
    register("contrast", f"{at}.contrast:ContrastMetric", summary="how clearly each class stands out")
    register("artefacts", f"{at}.artefacts:ArtefactMetric", summary="patterns, halos, rims, seams and negatives")
    register("objects", f"{at}.objects:ObjectsMetric", summary="are labelled objects still detected? needs a detector")


@hookimpl
def register_engines(register: Register) -> None:  # noqa: D103
    register("torch", "sim2real.engines.torch:TorchEngine", summary="PyTorch on the CPU or a GPU")


@hookimpl
def register_recipes(register: Register) -> None:  # noqa: D103
    recipes = {
        "default": "light and colours, every edge stays, both ways: minutes on a CPU; what `train SIM REAL` uses",
        "grid": "light and colours by place and brightness: edges stay, minutes on a CPU",
        "labelled": "grid with a discriminator that knows classes; what `train SIM REAL` uses if SIM has masks",
        "textured": "grid, and then texture from noise: for small images of plain surfaces",
        "combined": "textures as well: networks that paint their own pixels, patch and global discriminators",
        "vkitti2kitti": "Virtual KITTI to KITTI at 1024x256, patch and global discriminators",
        "monet2photo": "paintings and photos at 128x128, batch normalisation",
        "resnet9-sigmoid": "256x256, ResNet-9 and a PatchGAN with a sigmoid",
        "cyclegan-256": "256x256, the patch discriminator alone",
        "cyclegan": "the reference CycleGAN at 256x256, ResNet-9 and PatchGAN 70x70",
        "cut": "CUT at 256x256: one generator that keeps the patches of its input",
        "fastcut": "FastCUT at 256x256: CUT in half the time, without its identity term",
        "reinhard": "seconds, no training: the real images' mean and spread of colours",
        "histogram": "seconds, no training: the histograms of a real image, sampled for each frame",
        "pixel-distribution": "seconds, no training: the mean and covariance of a real image's colours",
        "class-distribution": "two minutes: each class's colours in a real image; for simulations with masks",
        "fda": "seconds, no training: the low frequencies of a real image (Fourier Domain Adaptation)",
        "camera": "seconds, no training: only the blur and the noise of the real images' camera",
        "distil": "a small network that learns what another program made of the frames; see import-frames",
        "augment": "seconds, no training: strong hand-made augmentation, frame by frame",
    }
    for name, summary in recipes.items():
        register(name, f"sim2real.recipes:{name}.toml", summary=summary)


@hookimpl
def register_commands(register: Register) -> None:  # noqa: D103
    commands = {
        "demo": "the complete workflow on a rendered toy town, in minutes",
        "init": "write a commented sim2real.toml",
        "inspect": "show a dataset's layout, frames, roles and labels",
        "compare": "which recipe suits these frames and these photos?",
        "batch": "the whole job: train, convert, verify, evaluate, report; a rerun continues",
        "help": "print a page of the manual",
        "train": "learn the look of real images from unpaired folders",
        "recipes": "list the recipes, or show one",
        "import": "make a run of a trained CycleGAN, pix2pix or CUT generator",
        "import-frames": "make a run of the frames that another program translated",
        "preview": "draw frames before and after",
        "convert": "convert a dataset; every label stays true",
        "export": "write a generator as ONNX, compared with torch",
        "datasets": "list the dataset layouts, or describe one",
        "hypersim-previews": "make images from Hypersim's linear colours",
        "verify": "is a conversion complete and are its labels untouched?",
        "evaluate": "does a conversion look more real, and do its labels hold?",
        "report": "write one HTML file on a training or a conversion",
        "plugins": "list plugins, check them, or scaffold a new one",
    }
    for name, summary in commands.items():
        module = {"import": "import_model", "help": "manual"}.get(name, name.replace("-", "_"))
        register(name, f"sim2real.cli.{module}:command", summary=summary)
